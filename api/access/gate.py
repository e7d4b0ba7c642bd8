"""Find the caller of a request: from memory for predictions, from the database for everything that is not known yet.

What is in memory is dropped when the number of changes in the database moves (`shared.access.audit.count_change`).
Every process looks at this number while it serves requests, once in POLL_SECONDS at the most, so that a revoked key
ends everywhere within a second.
"""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from sqlalchemy import select

from api.access.callers import EVERYBODY, NOWHERE, Caller, TokenBucket
from api.access.credentials import Credential, read_cookie, read_credential
from api.access.owners import check_owner
from api.http.wsgi.proxies import FROM_PROXY
from shared.access import audit, browser_sessions, keys, users
from shared.access.keys import check_form
from shared.access.projects import find_standing
from shared.access.rights import Role, Scope, list_scopes
from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.access import User
from shared.database.tables.registry import Model
from shared.errors import InvalidRequest, KeyExpired, NoAdminYet, NotAuthenticated, OriginNotAllowed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

POLL_SECONDS = 0.5
MAX_STALE_SECONDS = 1.0
"""With an older number of changes, requests wait until it is read again, at most for this time too."""
UNKNOWN_SECONDS = 1.0
MAX_REMEMBERED = 10_000
"""The most callers, and the most refused credentials, that a process remembers."""
SESSION_CHECK_SECONDS = 60.0
"""A browser session is looked up again after this time, so that its last use is written."""
USE_SECONDS = 60.0
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
NO_ADMIN = (
    "Nobody can sign in yet. On the machine of the service, run `.venv/bin/python -m api.admin invite <login> --role "
    "admin` in its folder, or `docker compose exec api python -m api.admin …`, and open the link that it prints."
)


class FoundModel(NamedTuple):
    """The project of a model, and who may ask it."""

    project: str
    predictions: str


def _make_anyone() -> Caller:
    return Caller("", NOWHERE, frozenset({Scope.PREDICT}), via="nobody")


class Gate:
    """Finds the callers of requests. This one is open: everybody may do everything.

    `anyone` is the caller of requests without a key for predictions that are public.
    """

    is_closed = False
    anyone = EVERYBODY

    def find_cached(self, environ: "WSGIEnvironment") -> Caller | None:  # noqa: ARG002 - of the closed gate
        """Return the caller of a request if it is in memory. Never raises."""
        return EVERYBODY

    def find_refusal(self, environ: "WSGIEnvironment") -> NotAuthenticated | KeyExpired | None:  # noqa: ARG002 - of the closed gate
        """Return why the key of a request is refused, as far as that is known without the database. Never raises."""
        return None

    def find_model(self, name: str) -> FoundModel | None:  # noqa: ARG002 - of the closed gate
        """Return the project of a model, and who may ask it; None if there is no model of this name."""
        return None

    def identify(self, environ: "WSGIEnvironment") -> Caller:  # noqa: ARG002 - of the closed gate
        """Return the caller of a request."""
        return EVERYBODY

    def forget(self) -> None:
        """Forget all callers, after a change that this process has made."""

    def close(self) -> None:
        """Close the connection to the database."""


@dataclass(frozen=True)
class ProxyRule:
    """How an authenticating proxy names users.

    Attributes:
        header: name of the header, which counts only in requests that trusted proxies pass on.
        role: the role of users who come for the first time.
    """

    header: str
    role: Role


class KeyGate(Gate):
    """Finds the callers of requests by their keys and sessions, and by what a proxy says. Safe for threads.

    Args:
        watching: sessions of a connection that nothing else uses. The number of changes is read with it, so that known
            callers do not wait for requests that occupy the database.
        rule: how a proxy names users; None without one.
    """

    is_closed = True

    def __init__(self, sessions: Sessions, watching: Sessions, rule: ProxyRule | None = None) -> None:
        self._sessions = sessions
        self._watching = watching
        self._rule = rule
        self._callers: dict[bytes, Caller] = {}  # by `_hash_header`
        self._refused: dict[bytes, tuple[float, NotAuthenticated | KeyExpired]] = {}  # until when, and why
        self._generation: int | None = None  # the number of changes when the callers were looked up
        self._memory_lock = threading.Lock()  # for writes of the four above
        self._checked_at = float("-inf")
        self._check_lock = threading.Lock()
        self._is_database_away = False
        self._used: dict[str, str | None] = {}  # addresses by the ids of keys, since the last writing
        self._seen: set[str] = set()  # sha256 of tokens of sessions, likewise
        self._written_at = time.monotonic()
        self._has_admin = False
        self.anyone = _make_anyone()

    def find_cached(self, environ: "WSGIEnvironment") -> Caller | None:
        """Return the caller of a request with a key, or without one, if it is in memory. Never raises."""
        header, other = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")
        if header is not None and other is not None:
            return None
        time_now = time.monotonic()
        if time_now - self._checked_at > POLL_SECONDS:
            self._check_changes(time_now)
        if header is None and other is None:
            return self.anyone
        caller = self._callers.get(_hash_header("key", header or other or ""))
        if caller is None or time_now >= caller.until:
            return None
        if caller.key_id is not None:
            self._used[caller.key_id] = environ.get("REMOTE_ADDR")
        return caller

    def find_refusal(self, environ: "WSGIEnvironment") -> NotAuthenticated | KeyExpired | None:
        """Return why the key of a request is refused, as far as that is known without the database. Never raises."""
        try:
            credential = read_credential(environ, with_cookie=False)
            if credential is None:
                return None
            check_form(credential.text)
        except NotAuthenticated as error:
            return error
        except InvalidRequest:
            return None
        refused = self._refused.get(_hash_header("key", _get_key_header(environ)))
        if refused is None or time.monotonic() >= refused[0]:
            return None
        return type(refused[1])(refused[1].detail)

    def identify(self, environ: "WSGIEnvironment") -> Caller:
        """Return the caller of a request. It is looked up in the database if it is not in memory.

        Raises NotAuthenticated, KeyExpired or NoAdminYet; InvalidRequest for two different keys; OriginNotAllowed for a
        session whose request does not come from a page of the service.
        """
        cached = self.find_cached(environ)
        if cached is not None and cached is not self.anyone:
            return cached
        credential = read_credential(environ, with_cookie=_takes_cookies(environ))
        if self._rule is not None and FROM_PROXY in environ and (credential is None or credential.kind == "session"):
            name = environ.get(f"HTTP_{self._rule.header.upper().replace('-', '_')}")
            if name is not None:
                return self._look_up_proxied(environ, name, self._rule)
        if credential is None:
            self._check_admin()
            raise NotAuthenticated("This needs a key. Send it in the header `Authorization: Bearer <key>`.")
        if credential.kind == "session":
            _check_origin(environ)
        caller = self._look_up(environ, credential)
        if caller.key_id is not None:
            self._used[caller.key_id] = environ.get("REMOTE_ADDR")
        return caller

    def find_model(self, name: str) -> FoundModel | None:
        """Return the project of a model, and who may ask it; None if there is no model of this name."""
        with self._sessions() as session:
            row = session.execute(select(Model.project, Model.predictions).where(Model.name == name)).one_or_none()
        return FoundModel(*row) if row is not None else None

    def forget(self) -> None:
        """Forget all callers, after a change that this process has made."""
        self._forget(None)

    def close(self) -> None:
        """Close the connection to the database."""
        self._watching.kw["bind"].dispose()

    def _forget(self, generation: int | None) -> None:
        with self._memory_lock:
            self._callers, self._refused, self._generation = {}, {}, generation
            self.anyone = _make_anyone()
            self._checked_at = float("-inf") if generation is None else self._checked_at

    def _look_up(self, environ: "WSGIEnvironment", credential: Credential) -> Caller:
        is_key = credential.kind == "key"
        place = _hash_header(credential.kind, _get_key_header(environ) if is_key else credential.text)
        asked_at = time.monotonic()
        if asked_at - self._checked_at > POLL_SECONDS:
            self._check_changes(asked_at)
        if (known := self._callers.get(place)) is not None and asked_at < known.until:
            return known
        if (refused := self._refused.get(place)) is not None and asked_at < refused[0]:
            raise type(refused[1])(refused[1].detail)
        try:
            if is_key:
                check_form(credential.text)  # a flood of nonsense does not reach the database
            with self._sessions() as session:
                generation = audit.read_generation(session)
                found = (keys.find_by_text if is_key else browser_sessions.find_by_token)(session, credential.text)
        except (NotAuthenticated, KeyExpired) as error:
            with self._memory_lock:
                _remember(self._refused, place, (asked_at + UNKNOWN_SECONDS, error))
            raise
        seconds = found.seconds if found.seconds is not None else float("inf")
        if found.session is not None:
            seconds = min(seconds, SESSION_CHECK_SECONDS)
            self._seen.add(found.session)
        via = credential.kind
        caller = Caller(
            found.login,
            found.standing,
            found.scopes,
            found.models,
            found.key_id,
            via,
            asked_at + seconds,
            found.session,
            TokenBucket(found.rate) if found.rate is not None else None,
        )
        with self._memory_lock:
            if generation == self._generation:  # otherwise a change in between would be missed
                _remember(self._callers, place, caller)
        return caller

    def _look_up_proxied(self, environ: "WSGIEnvironment", name: str, rule: ProxyRule) -> Caller:
        """Return the caller that a proxy names. One who comes for the first time becomes a user."""
        login = check_owner(name, rule.header)
        if "," in login:
            raise InvalidRequest(
                f"The header {rule.header} came twice. The proxy must remove it from the requests of its clients."
            )
        place = _hash_header("proxy", login)
        asked_at = time.monotonic()
        if asked_at - self._checked_at > POLL_SECONDS:
            self._check_changes(asked_at)
        if (known := self._callers.get(place)) is not None and asked_at < known.until:
            return known
        actor = audit.Actor(login, "proxy", address=environ.get("REMOTE_ADDR"))
        with self._sessions() as session:
            generation, time_now = audit.read_generation(session), users.read_clock(session)
            user = session.get(User, login)
        if user is None:
            with self._sessions.begin() as session:
                user = users.admit_external(session, actor, login, rule.role)
        users.check_access(user, time_now)
        with self._sessions() as session:
            standing = find_standing(session, user)
        scopes = list_scopes(standing.list_roles())
        caller = Caller(login, standing, scopes, via="proxy", until=asked_at + SESSION_CHECK_SECONDS)
        with self._memory_lock:
            if generation == self._generation:
                _remember(self._callers, place, caller)
        return caller

    def _check_changes(self, time_now: float) -> None:
        """Read the number of changes, and forget all callers if it moved. One thread reads it, and others go on.

        Others wait for it only if the number is older than MAX_STALE_SECONDS. Without the database, or if it does not
        answer, known callers stay.
        """
        waits = time_now - self._checked_at > MAX_STALE_SECONDS and not self._is_database_away
        if not self._check_lock.acquire(waits, MAX_STALE_SECONDS if waits else -1):
            self._is_database_away = self._is_database_away or waits
            return
        try:
            if self._checked_at >= time_now:  # another thread has read it while this one waited
                return
            with self._watching() as session:
                generation = audit.read_generation(session)
            self._is_database_away = False
            if generation != self._generation:
                self._forget(generation)
        except DATABASE_ERRORS as error:
            self._is_database_away = True
            logger.warning("changes of users and keys could not be read: %s", error)
        finally:
            self._checked_at = time.monotonic()
            self._check_lock.release()
        if (self._used or self._seen) and time_now - self._written_at > USE_SECONDS:
            self._written_at = time_now
            threading.Thread(target=self.write_uses, daemon=True, name="uses of keys").start()

    def write_uses(self) -> None:
        """Write which keys and sessions were used since the last time."""
        used, self._used = self._used, {}
        seen, self._seen = self._seen, set()
        try:
            with self._sessions.begin() as session:
                keys.remember_use(session, dict(used))  # another thread can still write into it
                browser_sessions.remember_sessions(session, set(seen))
        except DATABASE_ERRORS as error:
            logger.warning("the last uses of keys could not be written: %s", error)

    def _check_admin(self) -> None:
        """Raise NoAdminYet until there is an admin."""
        if self._has_admin:
            return
        with self._sessions() as session:
            self._has_admin = users.has_admin(session)
        if not self._has_admin:
            raise NoAdminYet(NO_ADMIN)


def _hash_header(kind: Literal["key", "session", "proxy"], text: str) -> bytes:
    """Return the place of a caller in memory. The kind keeps headers, tokens and names apart."""
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogateescape")).digest()


def _get_key_header(environ: "WSGIEnvironment") -> str:
    return environ.get("HTTP_AUTHORIZATION") or environ.get("HTTP_X_API_KEY") or ""


def _remember(known: dict[bytes, Value], place: bytes, value: Value) -> None:
    """Put a value into a dict that is emptied when it is full."""
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[place] = value


def brings_credential(environ: "WSGIEnvironment") -> bool:
    """Return whether a request says who sends it. Cookies of other programs on this host say nothing."""
    if "HTTP_AUTHORIZATION" in environ or "HTTP_X_API_KEY" in environ:
        return True
    return _takes_cookies(environ) and read_cookie(environ) is not None


def _takes_cookies(environ: "WSGIEnvironment") -> bool:
    """Return whether a session is accepted at this address: at the pages and our own API, not by wire formats."""
    path: str = environ.get("PATH_INFO", "")
    return path.startswith(("/ui/", "/api/v1/"))


def _check_origin(environ: "WSGIEnvironment") -> None:
    """Check that a request with a session that changes something comes from a page of the service.

    Raises OriginNotAllowed.
    """
    if environ["REQUEST_METHOD"] in SAFE_METHODS:
        return
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN", "")
    is_own = site == "same-origin" if site is not None else origin.partition("://")[2] == environ.get("HTTP_HOST")
    if not is_own:
        raise OriginNotAllowed(
            "The request comes with the cookie of a session, and not from a page of this service. Programs send a key "
            "in the header `Authorization: Bearer <key>`."
        )
