"""Sign a browser in with a key or an OpenID provider, and out."""

from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import get_caller, get_signed_in, make_actor
from api.access.cookies import delete_session_cookie, set_session_cookie, set_ticket_cookie
from api.access.identity_provider import Ticket
from api.access.identity_sign_in import check_provider, make_return_address
from api.access.needs import open_to_all, signed_in
from api.documents.access import UserDocument, format_users
from api.documents.base import Document
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared import logs
from shared.access import browser_sessions, keys, users
from shared.access.audit import Actor
from shared.access.rights import Scope
from shared.errors import (
    AccessIsOff,
    IdentityProviderUnavailable,
    KeyExpired,
    MalformedRequest,
    NotAllowed,
    NotAuthenticated,
    SignInFailed,
    TooManySignIns,
)

bp = APIBlueprint("sessions", __name__, url_prefix="/api/v1/sessions", abp_tags=[Tag(name="Access")])


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=200, description="A key that may `read`.")]


class SignInBeginning(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    next: Annotated[str, Field(max_length=1000, description="The path of the page to show afterwards.")] = ""
    invitation: Annotated[
        str | None, Field(min_length=1, max_length=200, description="What stands after `#` in the link: join with it.")
    ] = None
    connect: Annotated[bool, Field(description="Connect the account with the user who is signed in.")] = False


class SignInAddress(Document):
    """Where a browser signs in."""

    location: str


@bp.post(
    "",
    responses={201: UserDocument, **describe_problems(AccessIsOff, MalformedRequest, TooManySignIns)},
)
@open_to_all
@parse_request
def sign_in(body: SignIn) -> Response:
    """Sign a browser in with a key.

    The response sets a cookie. The session has the rights of the key, ends with it, after 12 hours without a request,
    and after 7 days.
    """
    get_signed_in()
    text, address = body.key.strip(), request.remote_addr or ""
    services().sign_ins.check(address, text)
    with services().sessions.begin() as session:
        try:
            found = keys.find_by_text(session, text)
        except (NotAuthenticated, KeyExpired):
            services().sign_ins.add_failure(address, text)
            raise
        if Scope.READ not in found.scopes:
            raise NotAllowed("The pages need a key with the scope 'read'.")
        actor = Actor(found.login, "session", found.key_id, logs.get_context("request_id"), request.remote_addr)
        token = browser_sessions.sign_in(session, actor, found.login, found.key_id)
        (document,) = format_users(session, [users.get_user(session, found.login)])
    response = to_response(document, HTTPStatus.CREATED)
    set_session_cookie(response, token)
    return response


@bp.post(
    "/oidc",
    responses={
        201: SignInAddress,
        **describe_problems(AccessIsOff, IdentityProviderUnavailable, MalformedRequest, SignInFailed),
    },
)
@open_to_all
@parse_request
def begin_sign_in(body: SignInBeginning) -> Response:
    """Begin the sign-in of a browser with the OpenID provider of this service.

    The browser opens the address of the response, and comes back signed in. A cookie keeps the sign-in for ten minutes.
    """
    get_signed_in()
    provider = check_provider(services().identity_provider)
    if body.connect:
        if get_caller().session is None:
            raise SignInFailed("To connect an account, sign in with your key first.")
        get_caller().check_whole("connects an account")
    ticket = Ticket(next=body.next, invitation=body.invitation, connects=get_caller().login if body.connect else None)
    response = to_response(SignInAddress(location=provider.begin(ticket, make_return_address())), HTTPStatus.CREATED)
    set_ticket_cookie(response, ticket.model_dump_json())
    return response


@bp.delete("/current", responses={204: None, **describe_problems()})
@signed_in
@parse_request
def sign_out() -> Response:
    """Sign the browser out."""
    caller = get_caller()
    if caller.session is not None:
        with services().sessions.begin() as session:
            browser_sessions.sign_out(session, make_actor(), caller.session)
        services().gate.forget()
    response = Response(status=HTTPStatus.NO_CONTENT)
    delete_session_cookie(response)
    return response
