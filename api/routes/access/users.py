"""List and change users, and create service accounts."""

from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import make_actor
from api.access.needs import needs
from api.documents.access import (
    EndTime,
    LinkDocument,
    Login,
    PersonName,
    UserDocument,
    UserList,
    format_link,
    format_users,
)
from api.http.pagination import TEXT_KEY, PageQuery, make_next_cursor, parse_page
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access import invitations, projects, users
from shared.access.rights import DEFAULT_PROJECT, Role, Scope
from shared.errors import AccessIsOff, LastAdmin, LoginTaken, MalformedRequest, ProjectNotFound, UserNotFound
from shared.spec.fields import ProjectName

bp = APIBlueprint("users", __name__, url_prefix="/api/v1/users", abp_tags=[Tag(name="Access")])


class UserCreation(BaseModel):
    """A service account: the user of a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    login: Annotated[Login, Field(examples=["web-shop"])]
    name: PersonName = ""
    role: Role = Role.VIEWER
    project: ProjectName = DEFAULT_PROJECT


class UserChange(BaseModel):
    """The changes of a user. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    admin: bool | None = Field(default=None, description="An admin may do everything, in all projects.")
    disabled: bool | None = Field(default=None, description="A disabled user has no access: its keys are refused.")
    expires_at: EndTime | None = Field(
        default=None, description="When the access ends. It can be changed, and not removed."
    )


class UserPath(BaseModel):
    login: str = Field(max_length=255)


@bp.get("", responses={200: UserList, **describe_problems()})
@needs(Scope.ADMIN)
@parse_request
def list_users(query: PageQuery) -> Response:
    """List the users by login."""
    page = parse_page(query.limit, query.cursor, TEXT_KEY)
    with services().sessions() as session:
        found = users.list_users(session, page.after[0] if page.after else "", page.limit)
        documents = format_users(session, found)
    following = make_next_cursor(page, [(user.login,) for user in found])
    return to_response(UserList(users=documents, next=following))


@bp.post(
    "",
    responses={201: UserDocument, **describe_problems(AccessIsOff, LoginTaken, ProjectNotFound, MalformedRequest)},
)
@needs(Scope.ADMIN)
@parse_request
def create_service_account(body: UserCreation) -> Response:
    """Create a service account, whose keys outlive people.

    `POST /api/v1/keys` with `user` creates its keys. People are invited instead.
    """
    actor = make_actor()
    with services().sessions.begin() as session:
        projects.get_project(session, body.project, None)
        user = users.create_service(session, actor, body.login, body.name, body.role, body.project)
        (document,) = format_users(session, [user])
    return to_response(document, HTTPStatus.CREATED)


@bp.get("/<login>", responses={200: UserDocument, **describe_problems(AccessIsOff, UserNotFound)})
@needs(Scope.ADMIN)
@parse_request
def show_user(path: UserPath) -> Response:
    """Show a user."""
    with services().sessions() as session:
        return to_response(format_users(session, [users.get_user(session, path.login)])[0])


@bp.patch(
    "/<login>",
    responses={200: UserDocument, **describe_problems(AccessIsOff, UserNotFound, LastAdmin, MalformedRequest)},
)
@needs(Scope.ADMIN)
@parse_request
def change_user(path: UserPath, body: UserChange) -> Response:
    """Make a user an admin or not, disable or enable it, or change when its access ends.

    The keys and sessions of a disabled user are refused within a second.
    """
    actor = make_actor()
    with services().sessions.begin() as session:
        user = users.change_user(
            session, actor, path.login, is_admin=body.admin, disabled=body.disabled, expires_at=body.expires_at
        )
        (document,) = format_users(session, [user])
    services().gate.forget()
    return to_response(document)


@bp.post("/<login>/reset", responses={201: LinkDocument, **describe_problems(AccessIsOff, UserNotFound)})
@needs(Scope.ADMIN)
@parse_request
def reset_user(path: UserPath) -> Response:
    """Make a link with which a user gets a new key, after all others were lost.

    The earlier keys end when the link is used. No admin ever sees the key.
    """
    actor = make_actor()
    with services().sessions.begin() as session:
        made = invitations.reset(session, actor, path.login)
    return to_response(format_link(made, request.host_url), HTTPStatus.CREATED)
