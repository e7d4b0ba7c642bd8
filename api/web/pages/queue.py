"""Show the queue in order of turn, and the workers."""

from flask import Response

from api.access.callers import find_viewer
from api.documents.jobs import format_queued
from api.documents.operations import WorkerDocument
from api.services import services
from api.web.rendering import render
from shared.jobs import workers
from shared.jobs.queue.order import count_queue, list_queue
from shared.jobs.workers import VANISHED_AFTER_SECONDS

MAX_JOBS = 100


def show_queue() -> Response:
    """Show who waits, why, and for how long, and what the workers do."""
    viewer = find_viewer()
    with services().sessions() as session:
        jobs = [format_queued(one) for one in list_queue(session, MAX_JOBS, VANISHED_AFTER_SECONDS, viewer)]
        total = count_queue(session)
        found = workers.list_workers(session)
        known = {str(job.id): job.model for _, _, job in found if job is not None}  # of the jobs that are shown, too
    documents = [WorkerDocument.from_worker(*one, viewer) for one in found]
    return render(
        "jobs/queue.html",
        "web.show_queue",
        script="pages/queue.js",
        jobs=jobs,
        total=total,
        workers=documents,
        models=known,
    )
