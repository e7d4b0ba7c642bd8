"""Create, list, rotate and revoke keys."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import Caller, get_signed_in, make_actor
from api.access.needs import needs
from api.documents.access import EndTime, KeyDocument, KeyList, NewKeyDocument
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access import keys, users
from shared.access.rights import Scope, list_scopes, sort_scopes
from shared.database.tables.access import Key, UserKind
from shared.errors import (
    AccessIsOff,
    Fault,
    InvalidRequest,
    KeyNotFound,
    NotAllowed,
    TooManyKeys,
    UserNotFound,
)

MAX_PATTERNS = 50
MAX_GRACE_HOURS = 30 * 24

bp = APIBlueprint("keys", __name__, url_prefix="/api/v1/keys", abp_tags=[Tag(name="Access")])
Login = Annotated[str, Field(min_length=1, max_length=255)]
Pattern = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._*?-]+$")]


class KeyCreation(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100, description="What the key is for.", examples=["laptop"])]
    scopes: Annotated[
        list[Scope] | None,
        Field(
            min_length=1, description="What the key may do. Default: all that its user may, or `predict` with `models`."
        ),
    ] = None
    models: Annotated[
        list[Pattern] | None,
        Field(
            min_length=1,
            max_length=MAX_PATTERNS,
            description="The models that the key may ask, with `*` for any characters. Only with the scope `predict`.",
            examples=[["digits-*"]],
        ),
    ] = None
    expires_at: Annotated[EndTime | None, Field(description="Default: in 90 days. An admin can send null: never.")] = (
        None
    )
    rate: Annotated[
        int | None,
        Field(ge=1, le=100_000, description="The requests a second that each process answers. Default: no limit."),
    ] = None
    user: Annotated[Login | None, Field(description="Only for an admin: the user of the key. Default: the caller.")] = (
        None
    )


class KeysQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: Login | None = Field(
        default=None, description="Only for an admin: the user of the keys. Default: the caller."
    )


class KeyPath(BaseModel):
    key_id: str = Field(max_length=20, description="The id of the key.")


class Rotation(BaseModel):
    """How long the old secret stays valid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grace_hours: Annotated[float, Field(ge=0, le=MAX_GRACE_HOURS, allow_inf_nan=False)] = 24


@bp.post(
    "",
    responses={
        201: NewKeyDocument,
        **describe_problems(AccessIsOff, TooManyKeys, UserNotFound),
    },
)
@needs(Scope.READ)
@parse_request
def create_key(body: KeyCreation) -> Response:
    """Create a key.

    The response is the only one that contains the key: the service stores only its hash.
    Only a key that may do all that its user may creates others.
    """
    caller, actor = get_signed_in(), make_actor()
    caller.check_whole("creates others")
    never = "expires_at" in body.model_fields_set and body.expires_at is None
    is_later = body.expires_at is not None and body.expires_at > datetime.now(UTC) + timedelta(days=keys.MAX_DAYS)
    if is_later and not caller.may(Scope.ADMIN):
        fault = Fault("#/expires_at", f"The time must be at most {keys.MAX_DAYS} days ahead. Only an admin sends more.")
        raise InvalidRequest("The key cannot be created.", (fault,))
    if never or (body.user is not None and body.user != caller.login):
        caller.check(Scope.ADMIN)
    asked = keys.KeyRequest(
        body.name,
        frozenset(body.scopes) if body.scopes is not None else None,
        tuple(body.models) if body.models is not None else None,
        body.expires_at,
        never_expires=never,
        rate=body.rate,
    )
    with services().sessions.begin() as session:
        user = users.get_user(session, body.user or caller.login)
        if user.login != caller.login and user.kind != UserKind.SERVICE:
            raise NotAllowed(
                f"{user.login!r} is a person. Nobody else sees the key of a person: reset the user instead."
            )
        key, text = keys.create_key(session, actor, user, asked)
        document = NewKeyDocument(**KeyDocument.model_validate(key).model_dump(), key=text)
    services().gate.forget()
    return to_response(document, HTTPStatus.CREATED, {"Location": url_for("keys.show_key", key_id=key.id)})


@bp.get("", responses={200: KeyList, **describe_problems(AccessIsOff)})
@needs(Scope.READ)
@parse_request
def list_keys(query: KeysQuery) -> Response:
    """List one's keys, the newest first.

    Revoked and expired keys are among them. No answer contains a secret.
    """
    caller = get_signed_in()
    if query.user is not None and query.user != caller.login:
        caller.check(Scope.ADMIN)
    with services().sessions() as session:
        found = keys.list_keys(session, query.user or caller.login)
    return to_response(KeyList(keys=[KeyDocument.model_validate(key) for key in found]))


@bp.get("/<key_id>", responses={200: KeyDocument, **describe_problems(AccessIsOff, KeyNotFound)})
@needs(Scope.READ)
@parse_request
def show_key(path: KeyPath) -> Response:
    """Show a key, without its secret."""
    with services().sessions() as session:
        return to_response(KeyDocument.model_validate(keys.get_key(session, path.key_id, _choose_login())))


@bp.delete("/<key_id>", responses={204: None, **describe_problems(AccessIsOff, KeyNotFound)})
@needs(Scope.READ)
@parse_request
def revoke_key(path: KeyPath) -> Response:
    """Revoke a key.

    It ends everywhere within a second, and with it the browsers that signed in with it.
    """
    caller, actor = get_signed_in(), make_actor()
    with services().sessions.begin() as session:
        key = keys.get_key(session, path.key_id, _choose_login())
        if not caller.may(Scope.ADMIN):
            _check_within(caller, key)
        keys.revoke_key(session, actor, key)
    services().gate.forget()
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.post(
    "/<key_id>/rotation",
    responses={200: NewKeyDocument, **describe_problems(AccessIsOff, KeyNotFound)},
)
@needs(Scope.READ)
@parse_request
def rotate_key(path: KeyPath, body: Rotation) -> Response:
    """Give a key a new secret.

    Only the user of a key can do it.
    The old secret stays valid for `grace_hours`, so that programs can be changed one after another.
    """
    caller, actor = get_signed_in(), make_actor()
    with services().sessions.begin() as session:
        key = keys.get_key(session, path.key_id, caller.login)
        _check_within(caller, key)
        if key.revoked_at is not None:
            raise KeyNotFound(f"The key {key.id!r} was revoked. Create a new one.")
        text = keys.rotate_key(session, actor, key, timedelta(hours=body.grace_hours), caller.session)
        document = NewKeyDocument(**KeyDocument.model_validate(key).model_dump(), key=text)
    services().gate.forget()
    return to_response(document)


def _choose_login() -> str | None:
    """Return the user whose keys the caller may see and revoke; None for an admin, who may do so for all."""
    caller = get_signed_in()
    return None if caller.may(Scope.ADMIN) else caller.login


def _check_within(caller: Caller, key: Key) -> None:
    """Check that a key of the caller may not do more than the one that changes it. Raises NotAllowed."""
    allowed = list_scopes(caller.standing.list_roles())
    if more := sort_scopes((frozenset(map(Scope, key.scopes)) & allowed) - caller.scopes):
        raise NotAllowed(f"The key of this request does not have {', '.join(more)} itself.")
