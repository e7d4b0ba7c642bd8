"""Sign people in with an OpenID provider: the authorization code flow, with PKCE.

Sources: https://openid.net/specs/openid-connect-core-1_0.html, sections 3.1.2 and 3.1.3; RFC 7636; RFC 9207.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from shared.access.identities import Identity
from shared.access.rights import Role
from shared.errors import IdentityProviderUnavailable, SignInFailed

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session
    from joserfc.jwk import KeySet, KeySetSerialization
    from requests import Session

logger = logging.getLogger(__name__)

AnySession = TypeVar("AnySession", bound="Session")

SCOPE = "openid profile"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures of ID tokens that are accepted. All use public keys: neither `none` nor HMAC is among them."""
CLIENT_AUTHENTICATIONS = ("client_secret_basic", "client_secret_post")
"""How a client secret is sent, the first one that the provider knows."""
TIMEOUT_SECONDS = (3.05, 10.0)
"""Limits on the time to connect, and on the time between two parts of an answer."""
MAX_ANSWER_SECONDS = 15.0
MAX_ANSWER_BYTES = 2**20
CHUNK_BYTES = 2**14
PAUSE_SECONDS = 3.0
"""A provider that did not answer is asked again after this time."""
KNOWN_SECONDS = 3600.0
"""What the provider says about itself is asked for again after this time."""
LEEWAY_SECONDS = 60
"""The clocks of the provider and of this machine can differ so much."""
MAX_SUBJECT = 255
TOKEN_BYTES = 48


@dataclass(frozen=True)
class ProviderSettings:
    """How this service is registered at a provider.

    Attributes:
        name: what people call it, such as `School account`.
        role: the role of people who come without an invitation; None if they are refused.
        client_secret: None for a client without one, for which PKCE is enough.
    """

    issuer: str
    client_id: str
    client_secret: str | None
    name: str
    role: Role | None


class Ticket(BaseModel):
    """A sign-in that was begun. The browser keeps it in a cookie until the provider sends it back.

    Attributes:
        next: the path of the page to show afterwards; empty for the first one.
        invitation: the token of an invitation that is accepted with it; None for one of a user.
        connects: the user who is signed in already, and whose account it becomes; None for a sign-in.
    """

    model_config = ConfigDict(frozen=True)

    state: str = Field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))
    nonce: str = Field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))
    verifier: str = Field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))
    next: str = ""
    invitation: str | None = None
    connects: str | None = None


def _check_address(address: str, info: ValidationInfo) -> str:
    """Check that an address uses HTTPS if the issuer does."""
    if info.data.get("issuer", "").startswith("https://") and not address.startswith("https://"):
        raise ValueError("the address does not begin with https://")
    return address


Address = Annotated[str, AfterValidator(_check_address)]


class _Metadata(BaseModel):
    """What a provider says about itself."""

    issuer: str
    authorization_endpoint: Address
    token_endpoint: Address
    jwks_uri: Address
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


class IdentityProvider:
    """An OpenID provider. Safe for threads. Nothing is asked of it before somebody signs in. `clock` counts seconds."""

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._settings = settings
        self._lock = threading.Lock()
        self._metadata: _Metadata | None = None
        self._keys: KeySet | None = None
        self._known_until = 0.0
        self._next_try = float("-inf")  # not before, after the provider did not answer

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def role(self) -> Role | None:
        return self._settings.role

    def begin(self, ticket: Ticket, return_address: str) -> str:
        """Return the address at which a person signs in, and from which it comes back to `return_address`.

        Raises IdentityProviderUnavailable.
        """
        metadata, _ = self._load()
        address, _ = self._make_session(metadata, return_address).create_authorization_url(
            metadata.authorization_endpoint, state=ticket.state, nonce=ticket.nonce, code_verifier=ticket.verifier
        )
        return str(address)

    def finish(self, ticket: Ticket, return_address: str, arguments: Mapping[str, str]) -> Identity:
        """Exchange the code with which a person came back, and check its ID token. Returns who it is.

        Raises SignInFailed, or IdentityProviderUnavailable.
        """
        if not secrets.compare_digest(arguments.get("state", "").encode(), ticket.state.encode()):
            raise SignInFailed("The sign-in was not begun in this browser, or another one was begun since. Try again.")
        metadata, _ = self._load()
        issuer = arguments.get("iss")
        if issuer != metadata.issuer and (issuer or metadata.authorization_response_iss_parameter_supported):
            raise SignInFailed("The answer comes from another provider than that of this service. Try again.")
        if "error" in arguments:
            told = arguments.get("error_description") or arguments["error"]
            raise SignInFailed(f"{self.name} refused the sign-in: {told[:300]!r}.")
        token = self._exchange(metadata, ticket, return_address, arguments.get("code", ""))
        claims = self._check_token(metadata, token, ticket.nonce)
        names = [claims.get(key) for key in ("preferred_username", "name")]
        username, name = (value if isinstance(value, str) else "" for value in names)
        return Identity(metadata.issuer, claims["sub"], username, name)

    def _exchange(self, metadata: _Metadata, ticket: Ticket, return_address: str, code: str) -> str:
        """Exchange a code for an ID token. Raises SignInFailed, or IdentityProviderUnavailable."""
        from authlib.integrations.base_client import OAuthError
        from requests import RequestException

        try:
            answer = _limit(self._make_session(metadata, return_address)).fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=ticket.verifier,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,  # the secret goes nowhere else
            )
        except OAuthError as error:
            logger.warning("the provider refused a code: %s", error)
            raise SignInFailed(f"{self.name} refused the sign-in: {str(error)[:300]!r}.") from None
        except (RequestException, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise self._make_outage(error) from None
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise self._make_outage(ValueError("the answer has no ID token"))
        return token

    def _check_token(self, metadata: _Metadata, token: str, nonce: str) -> dict[str, Any]:
        """Check an ID token, and return its claims. Raises SignInFailed, or IdentityProviderUnavailable."""
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError

        client_id = self._settings.client_id
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
            azp={"value": client_id},
        )
        try:
            try:
                claims = jwt.decode(token, self._load()[1], algorithms=ALGORITHMS).claims
            except (InvalidKeyIdError, BadSignatureError):  # the provider may have changed its keys
                claims = jwt.decode(token, self._load(again=True)[1], algorithms=ALGORITHMS).claims
            rules.validate(claims)
        except (JoseError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            logger.warning("an ID token was refused: %s", error)
            raise SignInFailed(f"The ID token of {self.name} is not valid: {str(error)[:300]}. Try again.") from None
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and "azp" not in claims:
            raise SignInFailed(f"The ID token of {self.name} is for several clients, and does not say for which.")
        subject = claims["sub"]
        if len(subject) > MAX_SUBJECT or not (subject.isascii() and subject.isprintable()):
            raise SignInFailed(
                f"The `sub` in the ID token of {self.name} is not {MAX_SUBJECT} characters of ASCII or fewer."
            )
        return dict(claims)

    def _load(self, *, again: bool = False) -> tuple[_Metadata, "KeySet"]:
        """Return what the provider says about itself, and its keys. Raises IdentityProviderUnavailable."""
        import requests
        from joserfc.errors import JoseError

        with self._lock:
            time_now = self._clock()
            if self._metadata is not None and self._keys is not None and not again and time_now < self._known_until:
                return self._metadata, self._keys
            if time_now < self._next_try:  # those who wait for the lock do not all wait for the provider as well
                raise self._make_outage(ConnectionError("it did not answer a moment ago"))
            try:
                self._metadata, self._keys = self._ask()
            except (requests.RequestException, JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
                self._next_try = self._clock() + PAUSE_SECONDS
                raise self._make_outage(error) from None
            self._known_until = self._clock() + KNOWN_SECONDS
            return self._metadata, self._keys

    def _ask(self) -> tuple[_Metadata, "KeySet"]:
        from joserfc.jwk import KeySet

        issuer = self._settings.issuer
        metadata = _Metadata.model_validate(_get_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        if metadata.issuer != issuer:
            raise ValueError(f"it calls itself {metadata.issuer!r}, and TRAINYARD_OIDC_ISSUER is {issuer!r}")
        return metadata, KeySet.import_key_set(cast("KeySetSerialization", _get_json(metadata.jwks_uri)))

    def _make_session(self, metadata: _Metadata, return_address: str) -> "OAuth2Session":
        from authlib.integrations.requests_client import OAuth2Session

        known = metadata.token_endpoint_auth_methods_supported
        method = "none"
        if self._settings.client_secret is not None:
            method = next((one for one in CLIENT_AUTHENTICATIONS if one in known), CLIENT_AUTHENTICATIONS[0])
        return OAuth2Session(
            self._settings.client_id,
            self._settings.client_secret,
            token_endpoint_auth_method=method,
            scope=SCOPE,
            redirect_uri=return_address,
            code_challenge_method="S256",
        )

    def _make_outage(self, error: Exception) -> IdentityProviderUnavailable:
        logger.error("the OpenID provider %s cannot be used: %s", self._settings.issuer, error)
        return IdentityProviderUnavailable(
            f"{self.name} does not answer as an OpenID provider. Try again in a minute, or sign in with a key. The log "
            "of the API says more."
        )


def _get_json(address: str) -> dict[str, Any]:
    """Read a JSON object. Raises RequestException, RecursionError or ValueError."""
    import requests

    with _limit(requests.Session()) as session:
        answer = session.get(address, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    answer.raise_for_status()
    document = answer.json()
    if not isinstance(document, dict):
        raise ValueError(f"{address} has no JSON object")
    return document


def _limit(session: AnySession) -> AnySession:
    """Make a session of `requests` refuse answers that are too long or take too long. Returns the session."""
    import requests
    from requests.adapters import HTTPAdapter

    class LimitedAdapter(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *_: object, **options: Any) -> requests.Response:  # noqa: ANN401 - passed on
            """Read an answer. Raises RequestException."""
            end = time.monotonic() + MAX_ANSWER_SECONDS
            response = super().send(request, **{**options, "stream": True})
            content = bytearray()
            for chunk in response.iter_content(CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_ANSWER_BYTES or time.monotonic() > end:
                    response.close()
                    raise requests.RequestException(
                        f"the answer of {request.url} has more than {MAX_ANSWER_BYTES} bytes, or takes more than "
                        f"{MAX_ANSWER_SECONDS:g} s"
                    )
            response._content = bytes(content)  # noqa: SLF001 - as `requests` does it itself
            return response

    for scheme in ("https://", "http://"):
        session.mount(scheme, LimitedAdapter())
    return session
