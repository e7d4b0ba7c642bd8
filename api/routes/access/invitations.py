"""Invite people, and list, withdraw and accept invitations."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, RootModel
from sqlalchemy.orm import Session

from api.access.callers import get_caller, make_actor
from api.access.cookies import set_session_cookie
from api.access.needs import needs, open_to_all
from api.documents.access import (
    Accepted,
    EndTime,
    InvitationDocument,
    InvitationList,
    InvitationPreview,
    KeyDocument,
    LinkDocument,
    LinkList,
    Login,
    NewKeyDocument,
    PersonName,
    format_link,
    format_users,
)
from api.http.bodies import read_body
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.http.validation import validate
from api.services import services
from shared import logs
from shared.access import browser_sessions, invitations
from shared.access.audit import Actor
from shared.access.invitations import MAX_ROWS, Guest
from shared.access.rights import DEFAULT_PROJECT, Role, Scope
from shared.database.tables.access import Invitation, User, UserKind
from shared.errors import (
    MAX_FAULTS,
    AccessIsOff,
    Fault,
    InvalidRequest,
    InvitationNotFound,
    InvitationUnusable,
    MalformedRequest,
    ProjectArchived,
    ProjectNotFound,
    list_names,
)
from shared.spec.fields import ProjectName

WAIT_FOR_IT = "Invite again when it was accepted, or withdraw it first."
CSV = "text/csv"
MAX_CSV_BYTES = 2**20
COLUMNS = ("login", "name", "role", "project", "expires_at")

bp = APIBlueprint("invitations", __name__, url_prefix="/api/v1/invitations", abp_tags=[Tag(name="Access")])


class GuestRequest(BaseModel):
    """One person to invite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    login: Annotated[Login, Field(examples=["ada"])]
    name: PersonName = ""
    role: Annotated[Role, Field(description="The role in the project. Only an admin invites an admin.")] = Role.MEMBER
    project: Annotated[ProjectName | None, Field(description="Default: the project that the caller joined first.")] = (
        None
    )
    expires_at: Annotated[
        EndTime | None,
        Field(description="When the access ends, such as the end of a course.", examples=["2027-07-31T23:59:59Z"]),
    ] = None

    def to_guest(self, project_of_all: str | None) -> Guest:
        project = self.project or project_of_all or get_caller().choose_project() or DEFAULT_PROJECT
        return Guest(self.login, self.name, self.role, self.expires_at, project)


class InviteQuery(BaseModel):
    project: ProjectName | None = Field(default=None, description="The project of those who name none.")


class InvitationRequest(RootModel[list[GuestRequest]]):
    """The people to invite."""

    root: Annotated[list[GuestRequest], Field(min_length=1, max_length=MAX_ROWS)]


class Acceptance(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, Field(min_length=1, max_length=200, description="What stands after `#` in the link.")]


class InvitationPath(BaseModel):
    invitation_id: str = Field(max_length=20)


@bp.post(
    "",
    responses={
        201: {
            "description": "The links, as JSON, or as CSV with `Accept: text/csv`.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/LinkList"}},
                **describe_bytes(CSV, "")["content"],
            },
        },
        **describe_problems(AccessIsOff, MalformedRequest, ProjectArchived, ProjectNotFound),
    },
    openapi_extensions={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/InvitationRequest"}},
                CSV: {
                    "schema": {"type": "string"},
                    "example": "login,name,role,project\nada,Ada Lovelace,member,class-9\n",
                },
            },
        }
    },
)
@needs(Scope.MANAGE)
@parse_request
def invite(query: InviteQuery) -> Response:
    """Invite people to projects: a JSON list, or a CSV table of a class.

    Each gets a link, with which it becomes a user and gets its first key, once.
    Who was invited before and did not accept gets a new link.
    Who is a user already joins the project at once, or stays in it as it is.
    Maintainers invite to their own projects. If one row is wrong, nobody is invited.
    """
    actor, table = make_actor(), _read_table()
    with _lines_in_faults(table):
        guests = _check_guests(table.rows, query.project)
    with services().sessions.begin() as session:
        with _lines_in_faults(table):
            _check_rights(session, guests)
        made = invitations.invite(session, actor, guests)
    services().gate.forget()
    links = [format_link(one, request.host_url) for one in made]
    if request.accept_mimetypes.best_match(("application/json", CSV)) == CSV:
        return Response(_write_csv(links), HTTPStatus.CREATED, content_type=f"{CSV}; charset=utf-8")
    return to_response(LinkList(invitations=links), HTTPStatus.CREATED)


@bp.get("", responses={200: InvitationList, **describe_problems()})
@needs(Scope.MANAGE)
@parse_request
def list_invitations() -> Response:
    """List the open invitations, without their links. Maintainers see those to their projects."""
    with services().sessions() as session:
        found = invitations.list_invitations(session, get_caller().list_managed())
    documents = [InvitationDocument.model_validate(one) for one in found]
    return to_response(InvitationList(invitations=documents))


@bp.delete("/<invitation_id>", responses={204: None, **describe_problems(AccessIsOff, InvitationNotFound)})
@needs(Scope.MANAGE)
@parse_request
def withdraw_invitation(path: InvitationPath) -> Response:
    """Withdraw an invitation: its link no longer works."""
    actor = make_actor()
    with services().sessions.begin() as session:
        invitations.withdraw(session, actor, path.invitation_id, get_caller().list_managed())
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.post("/preview", responses={200: InvitationPreview, **describe_problems(InvitationUnusable, MalformedRequest)})
@open_to_all
@parse_request
def preview_invitation(body: Acceptance) -> Response:
    """Tell what an invitation gives, without accepting it."""
    with services().sessions() as session:
        found = invitations.find_usable(session, body.token)
    return to_response(InvitationPreview.model_validate(found))


@bp.post("/acceptance", responses={201: Accepted, **describe_problems(InvitationUnusable, MalformedRequest)})
@open_to_all
@parse_request
def accept_invitation(body: Acceptance) -> Response:
    """Accept an invitation.

    The response has the user and its first key, which is shown only this once. It also signs the browser in.
    """
    with services().sessions.begin() as session:
        request_id, address = logs.get_context("request_id"), request.remote_addr
        user = invitations.accept(session, address, request_id, body.token)
        actor = Actor(user.login, "invitation", None, request_id, address)
        key, text = invitations.create_first_key(session, actor, user)
        token = browser_sessions.sign_in(session, actor, user.login, key.id)
        document = Accepted(
            user=format_users(session, [user])[0],
            key=NewKeyDocument(**KeyDocument.model_validate(key).model_dump(), key=text),
        )
    services().gate.forget()
    response = to_response(document, HTTPStatus.CREATED)
    set_session_cookie(response, token)
    return response


def _write_csv(links: list[LinkDocument]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["login", "name", "role", "project", "joined", "link", "link_expires_at"])
    for link in links:
        expires = f"{link.expires_at:%Y-%m-%dT%H:%M:%SZ}" if link.expires_at is not None else ""
        place, joined = link.project or "", str(link.joined).lower()
        writer.writerow([link.login, _neutralise(link.name), link.role, place, joined, link.link or "", expires])
    return out.getvalue()


def _neutralise(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _check_rights(session: Session, guests: list[Guest]) -> None:
    """Check that the caller may invite each guest to its project. Raises InvalidRequest, which names the rows.

    Nobody can replace the open invitation to another project, or that of an admin. A maintainer can neither make an
    admin nor take over somebody who is here without an invitation: its link would end the access that it has.
    """
    faults = [
        Fault(f"#/{index}/login", f"{guest.login!r} has an open invitation {_describe(one)}. {WAIT_FOR_IT}")
        for index, guest in enumerate(guests)
        for one in invitations.list_open(session, guest.login)
        if not one.is_reset and (one.project, one.role == Role.ADMIN) != (guest.project, guest.role is Role.ADMIN)
    ]
    caller = get_caller()
    for index, guest in enumerate(guests if not caller.sees_all else ()):
        user = session.get(User, guest.login)
        if not caller.may(Scope.MANAGE, guest.project):
            faults.append(Fault(f"#/{index}/project", f"You are no maintainer of the project {guest.project!r}."))
        elif guest.role is Role.ADMIN:
            faults.append(Fault(f"#/{index}/role", "Only an admin invites an admin."))
        elif user is not None and user.kind == UserKind.EXTERNAL:
            detail = (
                f"{guest.login!r} is known, and was never invited. Add it on the page of the project, or ask an admin."
            )
            faults.append(Fault(f"#/{index}/login", detail))
    if faults:
        raise InvalidRequest("The request is invalid.", tuple(faults[:MAX_FAULTS]))


def _describe(invitation: Invitation) -> str:
    return "as an admin" if invitation.role == Role.ADMIN else f"to the project {invitation.project!r}"


@dataclass(frozen=True)
class Table:
    """The people to invite, as they were sent. `lines` are those of a table in CSV, by row; None for JSON."""

    rows: object
    lines: list[tuple[int, str]] | None


def _read_table() -> Table:
    """Read the people of the body. Raises InvalidRequest or MalformedRequest."""
    body = read_body(MAX_CSV_BYTES)
    if request.mimetype == CSV:
        parsed = _parse_csv(body)
        return Table([row for _, row in parsed], [(line, row["login"]) for line, row in parsed])
    try:
        return Table(services().bodies.read_json(body), None)
    except (ValueError, RecursionError) as error:
        detail = f"The body is not valid JSON: {error}. A table has the Content-Type text/csv."
        raise MalformedRequest(detail) from None


@contextmanager
def _lines_in_faults(table: Table) -> Iterator[None]:
    """Add the lines of a table to the faults of its rows: a spreadsheet counts lines, the names of columns as one."""
    try:
        yield
    except InvalidRequest as error:
        lines = table.lines
        if lines is None:
            raise
        raise InvalidRequest(error.detail, tuple(_add_line(fault, lines) for fault in error.faults)) from None


def _add_line(fault: Fault, lines: list[tuple[int, str]]) -> Fault:
    index = fault.pointer.split("/")[1] if "/" in fault.pointer else ""
    if not index.isdecimal():
        return fault
    line, login = lines[int(index)]
    return replace(fault, line=line, detail=f"Line {line}, {login!r}: {fault.detail}")


def _check_guests(document: object, project: str | None) -> list[Guest]:
    """Check all guests, who are invited to `project` if they name none. Raises InvalidRequest."""
    asked = validate(InvitationRequest, document).root
    faults, seen = [], set()
    for index, guest in enumerate(asked):
        if guest.login in seen:
            detail = f"{guest.login!r} stands above already. Each login occurs once: send a table for each project."
            faults.append(Fault(f"#/{index}/login", detail))
        seen.add(guest.login)
        if guest.expires_at is not None and guest.expires_at <= datetime.now(UTC):
            faults.append(Fault(f"#/{index}/expires_at", f"{guest.login!r}: the time is over. Send one to come."))
    if faults:
        raise InvalidRequest("The request is invalid.", tuple(faults[:MAX_FAULTS]))
    return [guest.to_guest(project) for guest in asked]


def _parse_csv(body: bytes) -> list[tuple[int, dict[str, str]]]:
    """Parse a table with the columns `login`, and maybe `name`, `role` and `expires_at`: lines, and rows by columns.

    Commas, semicolons and tabs separate, as spreadsheets write them. Raises MalformedRequest or InvalidRequest.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedRequest("The table is not in UTF-8. Choose `CSV UTF-8` when you save it.") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise MalformedRequest(f"The table cannot be read at line {reader.line_num}: {error}.") from None
    if len(lines) <= 1:
        raise MalformedRequest(
            "The table has no row. Its first line must name the columns, such as `login,name,role`, and each further "
            "line is a person."
        )
    header = [name.strip().lower() for name in lines[0][1]]
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or "login" not in header or len(set(header)) < len(header):
        raise InvalidRequest(
            f"The first line must name the columns: `login`, and maybe {', '.join(COLUMNS[1:])}, each once. It is "
            f"{list_names(header)}."
        )
    rows = []
    for number, (line, cells) in enumerate(lines[1:]):
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            detail = f"The row has {len(cells)} cells, and the table has {len(header)} columns."
            raise InvalidRequest("The request is invalid.", (Fault(f"#/{number}", detail),))
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
        if "role" in row:
            row["role"] = row["role"].lower()
        rows.append((line, {"login": "", **row}))
    return rows
