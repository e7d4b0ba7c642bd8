"""Tell a client who it is, and the limits that it should know before it sends."""

from http import HTTPStatus

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.access.callers import get_caller, make_actor
from api.access.needs import signed_in
from api.documents.operations import Identity, Limits, SignedIn
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access import identities, keys, users
from shared.access.rights import sort_scopes
from shared.errors import AccessIsOff, InvalidRequest
from shared.version import VERSION

bp = APIBlueprint("me", __name__, url_prefix="/api/v1/me", abp_tags=[Tag(name="Service")])


@bp.delete("/identity", responses={204: None, **describe_problems(AccessIsOff)})
@signed_in
@parse_request
def disconnect_identity() -> Response:
    """End the connection of the caller with its account at the OpenID provider, and the sessions that came of it.

    The caller must have a key to sign in with.
    """
    actor = make_actor()
    get_caller().check_whole("disconnects the account")
    with services().sessions.begin() as session:
        user = users.get_user(session, get_caller().login)
        if user.issuer is not None and not keys.can_sign_in(session, user.login):
            raise InvalidRequest("You could not sign in any more: create a key that may `read` first, and keep it.")
        identities.disconnect(session, actor, user)
    services().gate.forget()
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get("", responses={200: Identity, **describe_problems()})
@signed_in
@parse_request
def show_me() -> Response:
    """Tell who the caller is, and which limits hold for what it sends."""
    current = services()
    uploads, images = current.ingestor.limits, current.decoder.limits
    limits = Limits(
        request_bytes=current.max_request_bytes,
        image_bytes=images.max_bytes,
        image_pixels=images.max_pixels,
        dataset_bytes=uploads.bytes,
        dataset_files=uploads.files,
        dataset_rows=uploads.rows,
        queued_jobs=current.owners.max_queued,
    )
    caller, user = get_caller(), None
    if caller.is_signed_in:
        models = list(caller.models) if caller.models is not None else None
        user = SignedIn(
            login=caller.login,
            is_admin=caller.standing.is_admin,
            projects=dict(caller.roles),
            scopes=sort_scopes(caller.scopes),
            models=models,
            key_id=caller.key_id,
        )
    return to_response(Identity(owner=current.owners.get_current(), user=user, version=VERSION, limits=limits))
