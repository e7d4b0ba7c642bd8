"""List the workers."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.access.callers import find_viewer
from api.access.needs import needs
from api.documents.operations import WorkerDocument, WorkerList
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.jobs import workers

bp = APIBlueprint("workers", __name__, url_prefix="/api/v1/workers", abp_tags=[Tag(name="Service")])


@bp.get("", responses={200: WorkerList, **describe_problems()})
@needs(Scope.READ)
@parse_request
def list_workers() -> Response:
    """List the workers, the newest first.

    A worker is listed until 24 hours after its last heartbeat.
    """
    with services().sessions() as session:
        found = workers.list_workers(session)
    return to_response(WorkerList(workers=[WorkerDocument.from_worker(*one, find_viewer()) for one in found]))
