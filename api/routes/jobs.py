"""Jobs: submit a spec, watch it, cancel it."""

from http import HTTPStatus
from typing import Literal

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.charts import drawings
from api.charts.response import PICTURE, PictureQuery, answer_picture
from api.documents.jobs import EpochDocument, EpochList, JobDocument, JobList, JobSummary, load_job
from api.http.headers import SubmitHeader
from api.http.pagination import PageQuery, next_cursor, page_of
from api.http.paths import JobPath, JobPicturePath
from api.http.requests import parsed
from api.http.responses import bytes_of, document, problems
from api.planner.messages import Plan, Question
from api.services import services
from api.streaming.job_log import lines_of
from shared.database.tables.jobs import ENDED, JobStatus
from shared.datasets import revisions
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    FileNotFound,
    IdempotencyKeyReused,
    JobCannotBeRetried,
    JobHasEnded,
    JobNotFound,
    JobNotStarted,
    MalformedRequest,
    PictureNotFound,
    PlanningUnavailable,
    RequestTooLarge,
    TooManyJobs,
    TooManyListeners,
    UnsupportedContent,
)
from shared.jobs import events, lifecycle, queries, submission
from shared.registry import pretrained, versions
from shared.registry.manifest import TENSORBOARD_FILE
from shared.spec.fields import ModelName
from shared.spec.training import TrainingSpec

MOST_EPOCHS = 100_000
MOST_LINES = 10_000

bp = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class SubmitQuery(BaseModel):
    dry_run: bool = Field(default=False, description="Answer what the spec would do, and queue nothing")


class JobQuery(PageQuery):
    status: JobStatus | None = None
    model: ModelName | None = None
    tag: str | None = Field(default=None, description="`key`, or `key:value`", max_length=320)


class RetryQuery(BaseModel):
    from_: Literal["checkpoint", "start"] = Field(default="checkpoint", alias="from", description="Where to go on from")


class EventsHeader(BaseModel):
    last_event_id: int = Field(default=0, alias="Last-Event-ID", ge=0, lt=2**31, description="Go on after this event")


@bp.post(
    "",
    responses={
        202: JobDocument,
        200: Plan,
        **problems(
            ArtifactDamaged,
            IdempotencyKeyReused,
            MalformedRequest,
            PlanningUnavailable,
            RequestTooLarge,
            TooManyJobs,
            UnsupportedContent,
        ),
    },
)
@parsed
def submit_job(query: SubmitQuery, header: SubmitHeader, body: TrainingSpec) -> Response:
    """Queue a training, or with `dry_run` tell what it would do."""
    with services().sessions() as session:
        choice, uploaded = revisions.pinned(session, body.dataset)
        version = pretrained.find_base(session, body.network)
    spec = pretrained.pinned(body.model_copy(update={"dataset": choice}), version)
    base = pretrained.read_base(version, services().artifacts) if version is not None else None
    plan = services().planner.plan(Question(spec=spec, uploaded=uploaded, base=base))
    if query.dry_run:
        return document(plan)
    with services().sessions() as session:
        same = submission.find_same(session, spec) if spec.reuse else None
    if same is not None:
        return document(
            load_job(services().sessions, same.id),
            HTTPStatus.OK,
            {"Location": url_for("jobs.show_job", job_id=same.id)},
        )
    owner, most = services().owners.current(), services().owners.most_queued
    with services().sessions.begin() as session:
        if header.idempotency_key is None:
            job = submission.create(session, spec, owner, most)
        else:
            job = submission.create_once(session, spec, header.idempotency_key, body, owner, most)
    services().bell.ring(Device(job.device))  # after the commit: inside, a worker may look before the row exists
    location = url_for("jobs.show_job", job_id=job.id)
    return document(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED, {"Location": location})


@bp.get("", responses={200: JobList, **problems()})
@parsed
def list_jobs(query: JobQuery) -> Response:
    """The newest first."""
    page = page_of(query.limit, query.cursor, (str, str))
    key, _, value = (query.tag or "").partition(":")
    with services().sessions() as session:
        found = queries.find(session, page, query.status, query.model, (key, value or None) if key else None)
        summaries = [JobSummary.of(job) for job in found]
    following = next_cursor(page, [(job.created_at.isoformat(), str(job.id)) for job in found])
    return document(JobList(jobs=summaries, next=following))


@bp.get("/<uuid:job_id>", responses={200: JobDocument, **problems(JobNotFound)})
@parsed
def show_job(path: JobPath) -> Response:
    """Where a job stands: its place in the queue, its progress, its error or its version."""
    return document(load_job(services().sessions, path.job_id))


@bp.post(
    "/<uuid:job_id>/cancellation", responses={202: JobDocument, 200: JobDocument, **problems(JobNotFound, JobHasEnded)}
)
@parsed
def cancel_job(path: JobPath) -> Response:
    """At once when it is queued; a running one ends at its next batch. Its checkpoint is kept for a retry."""
    with services().sessions.begin() as session:
        job = lifecycle.cancel(session, path.job_id)
    status = HTTPStatus.ACCEPTED if job.status == JobStatus.CANCELLING else HTTPStatus.OK
    return document(load_job(services().sessions, job.id), status)


@bp.post("/<uuid:job_id>/stop", responses={202: JobDocument, **problems(JobNotFound, JobHasEnded, JobNotStarted)})
@parsed
def stop_job(path: JobPath) -> Response:
    """Finish the epoch, and publish the weights that the spec's `keep` asks for."""
    with services().sessions.begin() as session:
        job = lifecycle.stop(session, path.job_id)
    return document(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED)


@bp.post(
    "/<uuid:job_id>/retry",
    responses={201: JobDocument, 200: JobDocument, **problems(JobNotFound, JobCannotBeRetried, TooManyJobs)},
)
@parsed
def retry_job(path: JobPath, query: RetryQuery) -> Response:
    """A new job from the same spec that goes on from the checkpoint; the one there is, while it has not ended."""
    with services().sessions.begin() as session:
        job, is_new = submission.create_retry(
            session, path.job_id, services().owners.most_queued, from_start=query.from_ == "start"
        )
    services().bell.ring(Device(job.device))
    location = url_for("jobs.show_job", job_id=job.id)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return document(load_job(services().sessions, job.id), status, {"Location": location})


@bp.get("/<uuid:job_id>/metrics", responses={200: EpochList, **problems(JobNotFound)})
@parsed
def show_metrics(path: JobPath, query: PageQuery) -> Response:
    """One row for each epoch, the first first."""
    page = page_of(query.limit, query.cursor, (int,))
    after = int(page.after[0]) if page.after is not None else 0
    with services().sessions() as session:
        queries.get(session, path.job_id)
        epochs = events.epochs_after(session, path.job_id, after, page.limit)
    documents = [EpochDocument.model_validate(epoch) for epoch in epochs]
    return document(EpochList(epochs=documents, next=next_cursor(page, [(epoch.epoch,) for epoch in epochs])))


@bp.get(
    "/<uuid:job_id>/events",
    responses={
        200: bytes_of("text/event-stream", "`status`, `progress`, `epoch` and `log`, to the end of the job"),
        204: {"description": "The job has ended, and all its events were seen"},
        **problems(JobNotFound, TooManyListeners),
    },
)
@parsed
def follow_job(path: JobPath, header: EventsHeader) -> Response:
    """Server-sent events: every change of status, progress twice a second at the most, and every epoch."""
    services().feeds.check_room()
    with services().sessions() as session:
        job = queries.get(session, path.job_id)
    seen = min(header.last_event_id, job.last_event)  # nobody has seen what has not happened
    if job.status in ENDED and seen == job.last_event:
        return Response(status=HTTPStatus.NO_CONTENT)  # anything else, and a browser would come back for ever
    stream = services().feeds.follow(path.job_id, seen)
    return Response(
        stream, content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


@bp.get(
    "/<uuid:job_id>/log",
    responses={200: bytes_of("text/plain", "The last 10,000 lines, by the database's clock"), **problems(JobNotFound)},
)
@parsed
def show_log(path: JobPath) -> Response:
    """What happened to a job, and what its training had to say, as text."""
    with services().sessions() as session:
        queries.get(session, path.job_id)
        found = events.log_of(session, path.job_id, MOST_LINES)
    return Response("".join(lines_of(found)), content_type="text/plain; charset=utf-8")


@bp.get(
    "/<uuid:job_id>/tensorboard",
    responses={
        200: bytes_of("application/zip", "The log folder, for `tensorboard --logdir` once it is unpacked"),
        **problems(JobNotFound, FileNotFound, ArtifactDamaged),
    },
)
@parsed
def download_tensorboard(path: JobPath) -> Response:
    """What a job logged that asked for `training.tensorboard` and succeeded."""
    with services().sessions() as session:
        job = queries.get(session, path.job_id)
    if job.version is None:
        raise FileNotFound(f"Job {job.id} has no logs: it is {job.status}.")
    file = versions.get_file(job.version, TENSORBOARD_FILE)
    headers = {"Content-Disposition": f'attachment; filename="{job.model}-{job.id}.zip"'}
    return Response(services().artifacts.read(file.sha256), content_type="application/zip", headers=headers)


@bp.get("/<uuid:job_id>/curves.<picture_format>", responses={200: PICTURE, **problems(JobNotFound, PictureNotFound)})
@parsed
def draw_curves(path: JobPicturePath, query: PictureQuery) -> Response:
    """Loss and metrics by epoch, of training and validation, as far as the job has come."""
    with services().sessions() as session:
        job = queries.get(session, path.job_id)
        epochs = events.epochs_after(session, path.job_id, 0, MOST_EPOCHS)
    if not epochs:
        raise PictureNotFound(f"Job {job.id} has not finished an epoch yet.")
    numbers = [epoch.epoch for epoch in epochs]
    metrics = {name: [epoch.metrics.get(name) for epoch in epochs] for name in epochs[-1].metrics}
    title = f"{job.model}, job {str(job.id)[:8]}"
    content = ("curves", title, job.attempt, metrics)
    return answer_picture(
        services().pictures, path.picture_format, query, content, lambda: drawings.curves(title, numbers, metrics)
    )
