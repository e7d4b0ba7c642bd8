"""Show who changed what."""

from collections.abc import Iterator
from typing import Annotated

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.documents.access import AuditArchiveDocument, AuditArchiveList, AuditEventDocument, AuditList
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, make_download, to_response
from api.services import services
from shared.access import audit
from shared.access.rights import Scope
from shared.database.engine import Sessions
from shared.errors import ArtifactDamaged, FileNotFound

EXPORTED_AT_ONCE = 1000

bp = APIBlueprint("audit", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="Access")])


class AuditQuery(PageQuery):
    actor: str | None = Field(default=None, max_length=255, description="Only what this user did.")
    action: str | None = Field(default=None, max_length=50, description="Only this action, such as `alias-moved`.")
    object: str | None = Field(
        default=None, max_length=300, description="Only changes of this object: its name or id, or `kind:name`."
    )

    def to_filters(self) -> audit.AuditFilters:
        return audit.AuditFilters(self.actor, self.action, self.object)


class ArchivePath(BaseModel):
    first_id: Annotated[int, Field(lt=2**63)]


@bp.get("/audit", responses={200: AuditList, **describe_problems()})
@needs(Scope.ADMIN)
@parse_request
def list_audit_events(query: AuditQuery) -> Response:
    """List who changed what, the newest first."""
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    with services().sessions() as session:
        found = audit.list_events(session, query.to_filters(), page.after[0] if page.after else None, page.limit)
    following = make_next_cursor(page, [(event.id,) for event in found])
    return to_response(AuditList(events=[AuditEventDocument.model_validate(event) for event in found], next=following))


@bp.get(
    "/audit.jsonl",
    responses={
        200: describe_bytes("application/jsonl", "One event in each line, the newest first."),
        **describe_problems(),
    },
)
@needs(Scope.ADMIN)
@parse_request
def export_audit_events() -> Response:
    """Download all audit events of the database, one line of JSON each. Older ones are in the archives."""
    return Response(_write_lines(services().sessions), content_type="application/jsonl")


@bp.get("/audit/archives", responses={200: AuditArchiveList, **describe_problems()})
@needs(Scope.ADMIN)
@parse_request
def list_audit_archives() -> Response:
    """List the files with audit events that are older than 400 days, the newest first."""
    with services().sessions() as session:
        found = audit.list_archives(session)
    return to_response(AuditArchiveList(archives=[AuditArchiveDocument.model_validate(one) for one in found]))


@bp.get(
    "/audit/archives/<int:first_id>",
    responses={
        200: describe_bytes("application/jsonl", "One event in each line, the oldest first. Its ETag is its sha256."),
        **describe_problems(FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.ADMIN)
@parse_request
def download_audit_archive(path: ArchivePath) -> Response:
    """Download a file with old audit events."""
    with services().sessions() as session:
        found = audit.get_archive(session, path.first_id)
    name = f"audit-{found.first_id}-{found.last_id}.jsonl"
    content = services().artifacts.open(found.sha256)
    return make_download(content, found.sha256, found.size, name, "application/jsonl")


def _write_lines(sessions: Sessions) -> Iterator[str]:
    before = None
    while True:
        with sessions() as session:
            found = audit.list_events(session, audit.AuditFilters(), before, EXPORTED_AT_ONCE)
        yield from (audit.write_line(event) for event in found)
        if len(found) < EXPORTED_AT_ONCE:
            return
        before = found[-1].id
