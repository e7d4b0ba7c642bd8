"""Read the key or the session of a request from its headers."""

import binascii
from base64 import b64decode
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from shared.access.key_text import KEY
from shared.errors import InvalidRequest, NotAuthenticated

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

COOKIE = "trainyard-session"
SECURE_PREFIX = "__Host-"
"""What names of cookies begin with under HTTPS. Browsers take these only from the host itself, and never over HTTP."""


@dataclass(frozen=True)
class Credential:
    """A key, or the token of a session, which says who sends a request. `text` is the key or the token."""

    kind: Literal["key", "session"]
    text: str


def read_credential(environ: "WSGIEnvironment", *, with_cookie: bool) -> Credential | None:
    """Read the key of a request from `Authorization` or `X-Api-Key`; else, with `with_cookie`, the session's cookie.

    `Authorization` is `Bearer <key>`, or `Basic` with the key as the password. Clients that cannot set headers send the
    latter for `user:<key>@host`. Returns None for a request that brings nothing.

    Raises NotAuthenticated for a header that contains no key, and InvalidRequest for two keys that differ or a key in
    the address.
    """
    query = environ.get("QUERY_STRING", "")
    if query and KEY.search(unquote(query)):
        raise InvalidRequest(
            "The address contains a key. Addresses stand in logs: revoke this key, and send a new one in the header "
            "`Authorization: Bearer <key>`."
        )
    keys = {
        text
        for text in (_read_authorization(environ.get("HTTP_AUTHORIZATION")), environ.get("HTTP_X_API_KEY"))
        if text is not None
    }
    if len(keys) > 1:
        raise InvalidRequest("`Authorization` and `X-Api-Key` contain two different keys. Send one of them.")
    if keys:
        return Credential("key", keys.pop().strip())
    if with_cookie and (token := read_cookie(environ)) is not None:
        return Credential("session", token)
    return None


def read_cookie(environ: "WSGIEnvironment") -> str | None:
    """Return the token of the browser session; None without one."""
    try:
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    except CookieError:
        return None
    morsel = cookies.get(f"{SECURE_PREFIX}{COOKIE}") or cookies.get(COOKIE)
    return morsel.value if morsel is not None else None


def _read_authorization(header: str | None) -> str | None:
    """Return the key in a header `Authorization`; None without one. Raises NotAuthenticated."""
    if header is None:
        return None
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest
    if scheme.lower() == "basic":
        try:
            _, separator, password = b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            separator = password = ""
        if separator and password:
            return password
    raise NotAuthenticated(
        "The header `Authorization` contains no key. Send `Authorization: Bearer <key>`, or Basic with the key as the "
        "password."
    )
