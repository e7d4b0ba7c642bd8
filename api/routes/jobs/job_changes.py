"""Follow the changes of all jobs."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from api.access.callers import find_viewer, get_caller
from api.access.needs import needs
from api.access.streams import AdmittedStream
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems
from api.services import services
from shared.access.rights import Scope
from shared.errors import TooManyListeners

bp = APIBlueprint("job_changes", __name__, url_prefix="/api/v1/events", abp_tags=[Tag(name="Jobs")])


@bp.get(
    "",
    responses={
        200: describe_bytes("text/event-stream", "Events `jobs`, `job` and `queue`, without end."),
        **describe_problems(TooManyListeners),
    },
)
@needs(Scope.READ)
@parse_request
def follow_jobs() -> Response:
    """Stream the changes of all jobs that the caller sees.

    The stream consists of server-sent events.
    The first one, `jobs`, has the running jobs, the first 100 queued jobs in their order, those that ended just now,
    and the number of all queued jobs.
    Then comes a `job` for each job that changes, and a `queue` when the number of queued jobs changes.
    A client that reconnects gets `jobs` again.
    """
    viewer = find_viewer()
    stream = services().feeds.follow_all(lambda job: viewer is None or viewer.sees_job(job))
    return Response(
        AdmittedStream(stream, services().gate, request.environ, get_caller()),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
