"""Begin and finish the sign-in of a browser with the OpenID provider of this service."""

import re
from http import HTTPStatus

from flask import Response, redirect, request, url_for
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.access.callers import get_caller, make_actor
from api.access.cookies import delete_ticket_cookie, read_ticket_cookie, set_session_cookie
from api.access.identity_provider import IdentityProvider, Ticket
from shared import logs
from shared.access import browser_sessions, identities, invitations, users
from shared.access.audit import Actor, count_change
from shared.access.identities import Identity
from shared.database.engine import Sessions
from shared.database.tables.access import User
from shared.errors import KeyExpired, NotAllowed, NotAuthenticated, SignInFailed

RETURN_VIEW = "web.finish_sign_in"
_OWN_PAGE = re.compile(r"/ui/[^\\\s]*")


def check_provider(provider: IdentityProvider | None) -> IdentityProvider:
    """Return the OpenID provider. Raises SignInFailed where only keys sign in."""
    if provider is None:
        raise SignInFailed("This service has no OpenID provider. Sign in with a key, or set TRAINYARD_OIDC_ISSUER.")
    return provider


def make_return_address() -> str:
    """Return the address to which the provider sends people back. It must know this address."""
    return url_for(RETURN_VIEW, _external=True)


def finish(provider: IdentityProvider, sessions: Sessions) -> Response:
    """Sign in who comes back from the provider, and lead on to the page that was asked for.

    Raises SignInFailed, IdentityProviderUnavailable, IdentityTaken, InvitationUnusable, LoginTaken, or NotAllowed for
    somebody who has no access.
    """
    kept = read_ticket_cookie()
    if kept is None and get_caller().is_signed_in:  # the button `back` of the browser
        return _lead_on("")
    try:
        ticket = Ticket.model_validate_json(kept or "")
    except ValidationError:
        raise SignInFailed("The sign-in was not begun in this browser, or longer than ten minutes ago.") from None
    identity = provider.finish(ticket, make_return_address(), request.args.to_dict())
    response = _lead_on(ticket.next)
    with sessions.begin() as session:
        count_change(session)  # a change of the user waits until the end of this sign-in, or is seen by it
        if ticket.connects is not None:
            if get_caller().session is None or get_caller().login != ticket.connects:
                raise SignInFailed(f"To connect the account, sign in as {ticket.connects!r} and begin again.")
            get_caller().check_whole("connects an account")
            identities.connect(session, make_actor(), users.get_user(session, ticket.connects), identity)
        else:
            user = _find_user(session, provider, ticket, identity)
            actor = Actor(user.login, "identity", None, logs.get_context("request_id"), request.remote_addr)
            set_session_cookie(response, browser_sessions.sign_in(session, actor, user.login, None))
    delete_ticket_cookie(response)
    return response


def _find_user(session: Session, provider: IdentityProvider, ticket: Ticket, identity: Identity) -> User:
    """Return the user of an identity. It can be made by an invitation, or by the role that everybody gets."""
    request_id, address = logs.get_context("request_id"), request.remote_addr
    if ticket.invitation is not None:
        user = invitations.accept(session, address, request_id, ticket.invitation)
        actor = Actor(user.login, "invitation", None, request_id, address)
        identities.connect(session, actor, user, identity)
        return user
    found = identities.find_user(session, identity)
    if found is None and provider.role is not None:
        found = identities.admit(session, address, request_id, identity, provider.role)
    if found is None:
        raise NotAllowed(
            f"Your account at {provider.name} is that of nobody here. Open the link of your invitation and join with "
            "the account, or sign in with your key and connect it on your page."
        )
    try:
        users.check_access(found, users.read_clock(session))
    except (NotAuthenticated, KeyExpired) as error:
        raise NotAllowed(error.detail) from None
    return found


def _lead_on(wanted: str) -> Response:
    """Redirect to one of our own pages; to the first one for anything else."""
    path = wanted.removeprefix(request.script_root)
    address = f"{request.script_root}{path}" if _OWN_PAGE.fullmatch(path) else url_for("web.show_home")
    response = redirect(address, HTTPStatus.SEE_OTHER)
    response.headers["Cache-Control"] = "no-store"
    return response  # type: ignore[return-value]
