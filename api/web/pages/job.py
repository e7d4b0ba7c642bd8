"""Show a job: its progress, its curves, its log, and what can be done with it."""

from uuid import UUID

from flask import Response

from api.documents.jobs import load_job, make_columns
from api.services import services
from api.streaming.job_log import format_log
from api.web.rendering import render
from shared.database.tables.jobs import ENDED, JobKind, JobStatus
from shared.jobs import events

MAX_POINTS = 400
"""The most epochs of the curves in the page: as many as a screen shows, and few to send."""
MAX_EPOCHS = 100_000
MAX_ROWS = 60
MAX_LOG_LINES = 200


def show_job(job_id: UUID) -> Response:
    """Show a job. Raises JobNotFound."""
    job = load_job(services().sessions, job_id)
    with services().sessions() as session:
        epochs = events.list_epochs(session, job_id, 0, MAX_EPOCHS)
        lines = "".join(format_log(events.list_log_events(session, job_id, MAX_LOG_LINES)))
    columns = make_columns(epochs, job.last_event, MAX_POINTS)
    names = list(columns.metrics)
    has_ended = job.status in ENDED
    return render(
        "jobs/job.html",
        "web.show_jobs",
        script="pages/job.js",
        script_words=("job.script.", "status.", "chart."),
        job=job,
        is_training=job.kind == JobKind.TRAINING,
        has_ended=has_ended,
        can_stop=job.status in (JobStatus.RUNNING, JobStatus.QUEUED),
        can_cancel=job.status in (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.STOPPING),
        can_retry=job.status in (JobStatus.FAILED, JobStatus.CANCELLED),
        names=names,
        rows=epochs[-MAX_ROWS:][::-1],
        trained=len(epochs),
        lines=lines,
        data={
            "id": str(job.id),
            "status": job.status,
            "kind": job.kind,
            "lastEvent": job.last_event,
            "columns": columns.model_dump(),
        },
    )
