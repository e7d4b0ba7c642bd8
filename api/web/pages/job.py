"""Show a job: its progress, its curves, its log, and what can be done with it."""

from uuid import UUID

from flask import Response

from api.access.callers import find_viewer, get_caller
from api.documents.cross_validation import CrossValidationDocument
from api.documents.jobs import JobDocument, load_columns, load_job
from api.services import services
from api.streaming.job_log import format_log
from api.web.rendering import render
from shared.access.rights import Scope
from shared.database.tables.jobs import ENDED, JobKind, JobStatus
from shared.jobs import events, queries

MAX_POINTS = 400
"""The most epochs of the curves in the page: as many as a screen shows, and few to send."""
MAX_ROWS = 60
MAX_LOG_LINES = 200
ADDS_FILE = frozenset({JobKind.EXPORT, JobKind.BASELINES, JobKind.EVALUATION})
"""The kinds of jobs that add a file to a version. They have no result before their end, so that none is stopped."""


def show_job(job_id: UUID) -> Response:
    """Show a job. Raises JobNotFound."""
    with services().sessions() as session:  # what is read after `last_event` may be newer, and the stream repeats it
        row = queries.get_job(session, job_id)
        columns = load_columns(session, row, MAX_POINTS)
        rows = events.list_epochs(session, job_id, max(0, columns.trained - MAX_ROWS), MAX_ROWS)
        folds = CrossValidationDocument.load(session, row) if row.cross_validation is not None else None
        logged = events.list_log_events(session, job_id, MAX_LOG_LINES)
    job = load_job(services().sessions, job_id)
    lines = "".join(format_log(event for event in logged if event.number <= columns.last_event))
    names = list(columns.metrics)
    has_ended, viewer = job.status in ENDED, find_viewer()
    return render(
        "jobs/job.html",
        "web.show_jobs",
        script="pages/job.js",
        script_words=("job.script.", "status.", "chart."),
        job=job,
        folds=folds,
        is_training=job.kind == JobKind.TRAINING,
        sees_version=viewer is None or job.project in viewer.projects,
        has_ended=has_ended,
        adds_file=job.kind in ADDS_FILE,
        can_stop=job.kind not in {*ADDS_FILE, JobKind.IMPORT} and job.status in (JobStatus.RUNNING, JobStatus.QUEUED),
        can_cancel=job.status in (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.STOPPING),
        can_publish=job.candidate,
        can_retry=job.status in (JobStatus.FAILED, JobStatus.CANCELLED),
        has_classes=job.metrics is not None and any("accuracy" in name for name in job.metrics.test or {}),
        names=names,
        rows=[row for row in rows[::-1] if row.epoch <= columns.trained],
        trained=columns.trained,
        lines=lines,
        data={
            "id": str(job.id),
            "status": job.status,
            "kind": job.kind,
            "mayEdit": _may_edit(job),
            "lastEvent": columns.last_event,
            "columns": columns.model_dump(),
        },
    )


def _may_edit(job: JobDocument) -> bool:
    """Return whether the caller may change a job."""
    caller = get_caller()
    is_own = job.owner == services().owners.get_current()
    return caller.may(Scope.TRAIN, job.project) and (is_own or caller.may(Scope.MANAGE, job.project))
