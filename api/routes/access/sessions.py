"""Sign a browser in with a key, and out."""

from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import get_caller, get_signed_in, make_actor
from api.access.cookies import delete_session_cookie, set_session_cookie
from api.access.needs import open_to_all, signed_in
from api.documents.access import UserDocument, format_users
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared import logs
from shared.access import keys, users
from shared.access.audit import Actor
from shared.access.rights import Scope
from shared.errors import AccessIsOff, KeyExpired, MalformedRequest, NotAllowed, NotAuthenticated, TooManySignIns

bp = APIBlueprint("sessions", __name__, url_prefix="/api/v1/sessions", abp_tags=[Tag(name="Access")])


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=200, description="A key that may `read`.")]


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
        token = keys.sign_in(session, actor, found.key_id)
        (document,) = format_users(session, [users.get_user(session, found.login)])
    response = to_response(document, HTTPStatus.CREATED)
    set_session_cookie(response, token)
    return response


@bp.delete("/current", responses={204: None, **describe_problems()})
@signed_in
@parse_request
def sign_out() -> Response:
    """Sign the browser out."""
    caller = get_caller()
    if caller.session is not None:
        with services().sessions.begin() as session:
            keys.sign_out(session, make_actor(), caller.session)
        services().gate.forget()
    response = Response(status=HTTPStatus.NO_CONTENT)
    delete_session_cookie(response)
    return response
