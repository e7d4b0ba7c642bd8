"""Create, archive and list projects, and change who is in them."""

from http import HTTPStatus
from typing import Annotated, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import get_caller, get_signed_in, make_actor
from api.access.needs import needs, signed_in
from api.documents.access import MemberDocument, MemberList, ProjectDocument, ProjectList
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access import projects
from shared.access.audit import record
from shared.access.keys import list_keys, revoke_key
from shared.access.rights import Role, Scope
from shared.database.tables.access import Member, Project, User
from shared.errors import AccessIsOff, MalformedRequest, ProjectArchived, ProjectNotFound, UserNotFound
from shared.jobs import lifecycle
from shared.spec.fields import Notes, ProjectName

bp = APIBlueprint("projects", __name__, url_prefix="/api/v1/projects", abp_tags=[Tag(name="Access")])


class ProjectPath(BaseModel):
    project: ProjectName


class MemberPath(ProjectPath):
    login: str = Field(max_length=255)


class ProjectChange(BaseModel):
    """A project. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Notes | None = None


class Membership(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[
        Literal["viewer", "member", "maintainer"], Field(description="The role of the user in the project.")
    ]


@bp.get("", responses={200: ProjectList, **describe_problems(AccessIsOff)})
@signed_in
@parse_request
def list_projects() -> Response:
    """List the projects of the caller by name; all of them for an admin."""
    caller = get_signed_in()
    with services().sessions() as session:
        found = projects.list_projects(session, None if caller.sees_all else caller.roles)
    return to_response(ProjectList(projects=[_format(project) for project in found]))


@bp.get("/<project>", responses={200: ProjectDocument, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.READ)
@parse_request
def show_project(path: ProjectPath) -> Response:
    """Show a project."""
    get_signed_in()
    with services().sessions() as session:
        return to_response(_format(projects.get_project(session, path.project, None)))


@bp.put(
    "/<project>",
    responses={201: ProjectDocument, 200: ProjectDocument, **describe_problems(AccessIsOff, MalformedRequest)},
)
@needs(Scope.ADMIN)
@parse_request
def put_project(path: ProjectPath, body: ProjectChange) -> Response:
    """Create a project, or describe one."""
    actor = make_actor()
    with services().sessions.begin() as session:
        project, is_new = projects.put_project(session, actor, path.project, body.description)
        document = _format(project)
    return to_response(document, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@bp.post("/<project>/archive", responses={200: ProjectDocument, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.ADMIN)
@parse_request
def archive_project(path: ProjectPath) -> Response:
    """Archive a project, such as at the end of a course.

    Its members can only read from now on. Its queued jobs are cancelled, and its invitations end.
    The keys of those who are in no other project are revoked, but for its maintainers.
    """
    actor = make_actor()
    with services().sessions.begin() as session:
        project = projects.get_project(session, path.project, None)
        projects.set_archived(session, actor, project, archived=True)
        for job in lifecycle.cancel_queued(session, project.name):
            record(session, actor, "job-cancelled", "job", str(job.id), before={"owner": job.owner})
        for login in projects.list_leavers(session, project.name):
            for key in list_keys(session, login):
                revoke_key(session, actor, key)
        document = _format(project)
    services().gate.forget()
    return to_response(document)


@bp.delete("/<project>/archive", responses={200: ProjectDocument, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.ADMIN)
@parse_request
def open_project(path: ProjectPath) -> Response:
    """Open an archived project again. Keys that were revoked stay so."""
    actor = make_actor()
    with services().sessions.begin() as session:
        project = projects.get_project(session, path.project, None)
        projects.set_archived(session, actor, project, archived=False)
        document = _format(project)
    services().gate.forget()
    return to_response(document)


@bp.get("/<project>/members", responses={200: MemberList, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.READ)
@parse_request
def list_members(path: ProjectPath) -> Response:
    """List the members of a project by login. Admins who are in no project are not among them."""
    get_signed_in()
    with services().sessions() as session:
        projects.get_project(session, path.project, None)
        found = projects.list_members(session, path.project)
    return to_response(MemberList(members=[_format_member(*one) for one in found]))


@bp.put(
    "/<project>/members/<login>",
    responses={200: MemberDocument, **describe_problems(AccessIsOff, ProjectArchived, ProjectNotFound, UserNotFound)},
)
@needs(Scope.MANAGE)
@parse_request
def put_member(path: MemberPath, body: Membership) -> Response:
    """Give a user a role in a project. A user who is not in it joins it."""
    actor = make_actor()
    with services().sessions.begin() as session:
        projects.get_project(session, path.project, None)
        member = projects.set_member(session, actor, path.project, path.login, Role(body.role))
        document = _format_member(member, session.get_one(User, path.login))
    services().gate.forget()
    return to_response(document)


@bp.delete("/<project>/members/<login>", responses={204: None, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.MANAGE)
@parse_request
def remove_member(path: MemberPath) -> Response:
    """Remove a user from a project.

    Its models, data sets and jobs stay in the project. Its queued jobs are cancelled.
    """
    actor = make_actor()
    with services().sessions.begin() as session:
        projects.get_project(session, path.project, None)
        projects.remove_member(session, actor, path.project, path.login)
        for job in lifecycle.cancel_queued(session, path.project, path.login):
            record(session, actor, "job-cancelled", "job", str(job.id), before={"owner": job.owner})
    services().gate.forget()
    return Response(status=HTTPStatus.NO_CONTENT)


def _format(project: Project) -> ProjectDocument:
    caller = get_caller()
    role = Role.ADMIN if caller.sees_all else caller.roles[project.name]
    fields = {name: getattr(project, name) for name in ProjectDocument.model_fields if name != "role"}
    return ProjectDocument(**fields, role=role)


def _format_member(member: Member, user: User) -> MemberDocument:
    return MemberDocument(
        login=member.login,
        name=user.name,
        role=Role(member.role),
        created_at=member.created_at,
        disabled=user.disabled_at is not None,
    )
