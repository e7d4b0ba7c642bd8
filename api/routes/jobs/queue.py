"""Show the queue: who waits, and for how long."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.callers import find_viewer
from api.access.needs import needs
from api.documents.jobs import JobQueue, format_queued
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.jobs.queue.order import count_queue, list_queue
from shared.jobs.workers import VANISHED_AFTER_SECONDS

bp = APIBlueprint("queue", __name__, url_prefix="/api/v1/queue", abp_tags=[Tag(name="Jobs")])


class QueueQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)


@bp.get("", responses={200: JobQueue, **describe_problems()})
@needs(Scope.READ)
@parse_request
def show_queue(query: QueueQuery) -> Response:
    """Show the queue.

    The first jobs are listed in the order in which they start, each with the reason of its place and an estimated wait.
    Jobs of others that the caller does not see are not listed, and counted in the places and in `total`.
    """
    with services().sessions() as session:
        queued = list_queue(session, query.limit, VANISHED_AFTER_SECONDS, find_viewer())
        jobs, total = [format_queued(one) for one in queued], count_queue(session)
    return to_response(JobQueue(jobs=jobs, total=total))
