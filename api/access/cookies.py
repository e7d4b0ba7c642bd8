"""Set and delete the cookie of a browser session."""

from flask import Response, request

from api.access.credentials import COOKIE, SECURE_COOKIE
from shared.access.keys import SESSION_DAYS


def set_session_cookie(response: Response, token: str) -> None:
    """Add the cookie to a response. Scripts cannot read it, and pages of other sites do not send it."""
    response.set_cookie(
        _choose_name(),
        token,
        SESSION_DAYS * 24 * 3600,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def delete_session_cookie(response: Response) -> None:
    """Tell the browser to forget the cookie."""
    response.delete_cookie(_choose_name(), path="/", secure=request.is_secure, httponly=True, samesite="Lax")


def _choose_name() -> str:
    return SECURE_COOKIE if request.is_secure else COOKIE
