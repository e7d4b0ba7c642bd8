"""Set, read and delete the cookies of browser sessions and of sign-ins that were begun."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from flask import Response, request

from api.access.credentials import COOKIE, SECURE_PREFIX
from shared.access.browser_sessions import SESSION_DAYS

TICKET_COOKIE = "trainyard-sign-in"
TICKET_SECONDS = 600


def set_session_cookie(response: Response, token: str) -> None:
    """Add the cookie of a session to a response."""
    _set_cookie(response, COOKIE, token, SESSION_DAYS * 24 * 3600)


def delete_session_cookie(response: Response) -> None:
    """Tell the browser to forget the cookie of its session."""
    _delete_cookie(response, COOKIE)


def set_ticket_cookie(response: Response, ticket: str) -> None:
    """Add the cookie of a sign-in that was begun to a response."""
    _set_cookie(response, TICKET_COOKIE, urlsafe_b64encode(ticket.encode()).decode(), TICKET_SECONDS)


def read_ticket_cookie() -> str | None:
    """Return what `set_ticket_cookie` has set; None without it."""
    try:
        return urlsafe_b64decode(request.cookies.get(_choose_name(TICKET_COOKIE), "")).decode() or None
    except ValueError:
        return None


def delete_ticket_cookie(response: Response) -> None:
    """Tell the browser to forget a sign-in that was begun."""
    _delete_cookie(response, TICKET_COOKIE)


def _set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Add a cookie that scripts cannot read, and that pages of other sites do not send."""
    response.set_cookie(
        _choose_name(name), value, seconds, path="/", secure=request.is_secure, httponly=True, samesite="Lax"
    )


def _delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(_choose_name(name), path="/", secure=request.is_secure, httponly=True, samesite="Lax")


def _choose_name(name: str) -> str:
    return f"{SECURE_PREFIX}{name}" if request.is_secure else name
