"""Show and set quotas, and list what was used."""

import csv
import io
from datetime import timedelta

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import Session

from api.access.callers import get_caller, get_signed_in, make_actor
from api.access.needs import needs
from api.documents.access import EndTime, QuotaDocument, Quotas, UsageList, UsageRow, format_quotas
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.services import services
from shared.access import projects, users
from shared.access.rights import Scope
from shared.errors import AccessIsOff, Fault, InvalidRequest, MalformedRequest, ProjectNotFound, UserNotFound
from shared.jobs import quotas, usage
from shared.jobs.quotas import WINDOW_DAYS, Subject
from shared.spec.fields import ProjectName

CSV = "text/csv"

bp = APIBlueprint("quotas", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="Access")])


class UserPath(BaseModel):
    login: str = Field(max_length=255)


class ProjectPath(BaseModel):
    project: ProjectName


class UsageQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: EndTime | None = Field(default=None, description="Default: seven days ago. A date means the end of its day.")


@bp.get("/users/<login>/quotas", responses={200: QuotaDocument, **describe_problems(AccessIsOff, UserNotFound)})
@needs(Scope.READ)
@parse_request
def show_user_quotas(path: UserPath) -> Response:
    """Show the quotas of a user, and what it uses of them: one's own, and for an admin those of all."""
    caller = get_signed_in()
    if path.login != caller.login and not caller.may(Scope.ADMIN):
        raise UserNotFound(f"There is no user {path.login!r} whose quotas you may see.")
    with services().sessions() as session:
        users.get_user(session, path.login)
        return to_response(format_quotas(session, Subject("user", path.login)))


@bp.put(
    "/users/<login>/quotas",
    responses={200: QuotaDocument, **describe_problems(AccessIsOff, UserNotFound, MalformedRequest)},
)
@needs(Scope.ADMIN)
@parse_request
def put_user_quotas(path: UserPath, body: Quotas) -> Response:
    """Set the quotas of a user. One that is left out is no limit, or for jobs that of the settings."""
    with services().sessions.begin() as session:
        users.get_user(session, path.login)
        return _set(session, Subject("user", path.login), body)


@bp.get("/projects/<project>/quotas", responses={200: QuotaDocument, **describe_problems(AccessIsOff, ProjectNotFound)})
@needs(Scope.READ)
@parse_request
def show_project_quotas(path: ProjectPath) -> Response:
    """Show the quotas of a project, and what its members use of them together."""
    get_signed_in()
    with services().sessions() as session:
        projects.get_project(session, path.project, None)
        return to_response(format_quotas(session, Subject("project", path.project)))


@bp.put(
    "/projects/<project>/quotas",
    responses={200: QuotaDocument, **describe_problems(AccessIsOff, ProjectNotFound, MalformedRequest)},
)
@needs(Scope.ADMIN)
@parse_request
def put_project_quotas(path: ProjectPath, body: Quotas) -> Response:
    """Set the quotas of a project: what its members may use together. One that is left out is no limit."""
    if body.running_jobs is not None:
        fault = Fault("#/running_jobs", "Only a user has this quota. Leave it out, or set it for the users.")
        raise InvalidRequest("The request is invalid.", (fault,))
    with services().sessions.begin() as session:
        projects.get_project(session, path.project, None)
        return _set(session, Subject("project", path.project), body)


@bp.get(
    "/usage",
    responses={
        200: {
            "description": "The use by user and project, as JSON, or as CSV with `Accept: text/csv`.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/UsageList"}},
                **describe_bytes(CSV, "")["content"],
            },
        },
        **describe_problems(AccessIsOff),
    },
)
@needs(Scope.READ)
@parse_request
def list_usage(query: UsageQuery) -> Response:
    """List what was used, the most first: one's own, that of the projects that one manages, and for an admin all.

    Each attempt of a job counts from its claim to its end; a lost one to the last sign of its life.
    """
    get_signed_in()
    with services().sessions() as session:
        since = query.since or users.read_clock(session) - timedelta(days=WINDOW_DAYS)
        rows = usage.list_use(session, since, _choose_visible)
    found = [
        UsageRow(owner=row.owner, project=row.project, attempts=row.attempts, device_minutes=round(row.seconds / 60, 2))
        for row in rows
    ]
    if request.accept_mimetypes.best_match(("application/json", CSV)) == CSV:
        return Response(_write_csv(found), content_type=f"{CSV}; charset=utf-8")
    return to_response(UsageList(since=since, usage=found))


def _set(session: Session, subject: Subject, body: Quotas) -> Response:
    quotas.set_quotas(session, make_actor(), subject, body.to_limits())
    session.flush()
    return to_response(format_quotas(session, subject))


def _choose_visible(table: usage.Used) -> ColumnElement[bool]:
    """Match what the caller may see the use of."""
    managed = get_caller().list_managed()
    if managed is None:
        return usage.choose_all(table)
    return or_(table.owner == get_caller().login, table.project.in_(managed))


def _write_csv(rows: list[UsageRow]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["owner", "project", "attempts", "device_minutes"])
    writer.writerows([row.owner, row.project, row.attempts, row.device_minutes] for row in rows)
    return out.getvalue()
