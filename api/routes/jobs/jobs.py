"""Submit, show, edit and delete jobs, and follow their progress."""

import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import objects
from api.access.callers import get_caller
from api.access.needs import needs
from api.access.streams import AdmittedStream
from api.documents.jobs import JobDocument, JobList, JobSummary, load_job
from api.http.headers import SubmitHeader
from api.http.pagination import TIME_KEY, ProjectQuery, make_next_cursor, parse_page
from api.http.paths import JobPath
from api.http.reading.all_faults import with_all_faults
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, make_download, to_response
from api.http.validation import validate
from api.planner.messages import Plan, PlanRequest
from api.services import services
from api.streaming.job_log import format_log
from shared.access.rights import Scope
from shared.database.tables.base import Visibility
from shared.database.tables.jobs import ENDED, Job, JobKind, JobStatus
from shared.datasets.stored_inline import write_inline
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    DiskFull,
    Fault,
    FileNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    JobHasStarted,
    JobInUse,
    JobNotFound,
    MalformedRequest,
    NameTaken,
    PlanningUnavailable,
    ProjectArchived,
    ProjectNotFound,
    QuotaExceeded,
    RequestTooLarge,
    TooManyJobs,
    TooManyListeners,
    UnsupportedContent,
)
from shared.jobs import creation, cross_validation, deletion, editing, events, queries, submission
from shared.networks.weights_file import POINTER, describe_weights_file
from shared.registry import pretrained, versions
from shared.registry.manifest import TENSORBOARD_FILE
from shared.spec.fields import PROJECT_TEXT, ModelName, Notes, Priority, ProjectName, Tags
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile

MAX_LOG_LINES = 10_000
_STATUSES = "|".join(JobStatus)
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

bp = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class SubmitQuery(BaseModel):
    dry_run: bool = Field(default=False, description="Return the plan of the training, and submit no job.")
    project: ProjectName | None = Field(default=None, description=PROJECT_TEXT)
    visibility: Visibility = Field(
        default=Visibility.PROJECT, description="Who sees the job. Its model is seen by the project."
    )


class JobQuery(ProjectQuery):
    status: str | None = Field(
        default=None,
        pattern=f"^({_STATUSES})(,({_STATUSES})){{0,6}}$",
        description="Only jobs of this status, or of several ones: `queued,running`.",
    )
    kind: JobKind | None = None
    owner: str | None = Field(
        default=None, description="Only jobs of this owner; `me` for those of the caller.", max_length=255
    )
    model: ModelName | None = None
    ids: str | None = Field(
        default=None,
        pattern=f"^{_UUID}(,{_UUID}){{0,49}}$",
        description="Only these jobs, at most 50, separated by commas.",
    )
    tag: str | None = Field(default=None, description="Only jobs with this tag: `key`, or `key:value`.", max_length=320)
    q: str | None = Field(
        default=None,
        description="Only jobs whose model or notes contain this text, or whose id begins with it.",
        max_length=200,
    )

    def to_filters(self) -> queries.JobFilters:
        """Return the filters of the list. Raises InvalidRequest for a tag without a key."""
        key, _, value = (self.tag or "").partition(":")
        if self.tag is not None and not key:
            detail = f"The tag {self.tag!r} has no key. Send `key`, or `key:value`."
            raise InvalidRequest("The request is invalid.", (Fault("#/tag", detail, "query"),))
        return queries.JobFilters(
            statuses=tuple(map(JobStatus, self.status.split(","))) if self.status else (),
            kind=self.kind,
            owner=services().owners.get_current() if self.owner == "me" else self.owner,
            model=self.model,
            project=self.project,
            ids=tuple(map(UUID, self.ids.split(","))) if self.ids else (),
            tag=(key, value or None) if key else None,
            text=self.q,
        )


class JobEdit(BaseModel):
    """The changes of a job. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notes: Notes | None = None
    tags: Tags | None = Field(default=None, description="All tags of the job: others are removed.")
    priority: Priority | None = Field(default=None, description="Only for a job that is queued.")
    visibility: Visibility | None = Field(default=None, description="Who sees the job.")


class EventsQuery(BaseModel):
    after: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="The stream begins after the event of this number, such as `last_event` of the job. A later "
        "`Last-Event-ID` replaces it.",
    )


class EventsHeader(BaseModel):
    last_event_id: int = Field(
        default=0,
        alias="Last-Event-ID",
        ge=0,
        lt=2**31,
        description="The number of the last event that the client has received. The stream continues after it.",
    )


def _check_spec(document: Any) -> None:  # noqa: ANN401 - JSON
    """Check whether a spec can be trained. Raises InvalidRequest, and the errors of planning."""
    if isinstance(document, dict):
        document.setdefault("model", "model")  # it can be at fault itself, and no other fault depends on it
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        _plan(validate(TrainingSpec, document), Path(folder))


def _plan(spec: TrainingSpec, folder: Path) -> tuple[submission.ResolvedSpec, list[Path], Plan]:
    """Resolve a spec, write its large inline data to the folder, and plan it.

    Raises InvalidRequest if it cannot be trained, DatasetNotFound, ArtifactDamaged or PlanningUnavailable.
    """
    with services().sessions() as session:
        resolved = submission.resolve(session, spec, services().artifacts)
    version = resolved.version
    base = pretrained.read_pretrained(version, services().artifacts) if version is not None else None
    inline = write_inline(resolved.spec.dataset, folder)
    request_to_plan = PlanRequest(
        spec=resolved.spec,
        uploaded=resolved.info,
        validation=resolved.validation_info,
        base=base,
        weights=_read_weight_shapes(spec, folder),
    )
    return resolved, inline, services().planner.plan(request_to_plan, services().owners.get_current())


def _read_weight_shapes(spec: TrainingSpec, folder: Path) -> list[tuple[int, ...]] | None:
    """Read the shapes of the uploaded weights that a spec names; None if it names none. Raises InvalidRequest."""
    if spec.network.weights is None:
        return None
    digest = spec.network.weights.removeprefix("sha256:")
    try:
        path = services().artifacts.get_local_path(digest, folder)
        return [array.shape for array in describe_weights_file(path, services().ingestor.limits.bytes)]
    except (ArtifactDamaged, InvalidRequest):  # no such file, or one of something else
        raise InvalidRequest("The request is invalid.", (Fault(POINTER, creation.NO_WEIGHTS),)) from None


@bp.post(
    "",
    responses={
        202: JobDocument,
        200: Plan,
        **describe_problems(
            ArtifactDamaged,
            DatasetNotFound,
            DiskFull,
            IdempotencyKeyReused,
            MalformedRequest,
            NameTaken,
            PlanningUnavailable,
            ProjectArchived,
            ProjectNotFound,
            QuotaExceeded,
            RequestTooLarge,
            TooManyJobs,
            UnsupportedContent,
        ),
    },
)
@with_all_faults(_check_spec)
@needs(Scope.TRAIN)
@parse_request
def submit_job(query: SubmitQuery, header: SubmitHeader, body: TrainingSpec) -> Response:
    """Submit a training job, or one for each fold of a cross-validation.

    With `dry_run`, no job is submitted: the response is the plan of the training.
    With `reuse` in the spec, the response is an earlier job with the same training, with status 200, if there is one.
    """
    objects.check_priority(body.resources.priority)
    own_name = objects.choose_model_name(body.model, per_user=services().owners.names_per_user)
    body = body.model_copy(update={"model": own_name})
    if not query.dry_run:
        services().disk.check()
    owner, max_queued = services().owners.get_current(), services().owners.max_queued
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        resolved, inline, plan = _plan(body, Path(folder))
        if query.dry_run:
            with services().sessions() as session:
                objects.check_model_name(session, resolved.spec.model, query.project)
            return to_response(plan)

        def submit(stored: list[StoredFile]) -> tuple[Job, bool]:
            with services().sessions.begin() as session:
                objects.claim_model(session, resolved.spec.model, query.project)
                key, inline_file = header.idempotency_key, stored[0] if stored else None
                return submission.submit(
                    session, resolved, owner, max_queued, key, inline_file, visibility=query.visibility
                )

        job, is_reused = tracked_files.store_and_reference(services().sessions, services().artifacts, inline, submit)
    for _ in () if is_reused else cross_validation.list_fold_specs(resolved.spec):
        services().notifier.notify(Device(job.device))  # after the commit: workers see the rows only then
    status = HTTPStatus.OK if is_reused else HTTPStatus.ACCEPTED
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})


@bp.get("", responses={200: JobList, **describe_problems()})
@needs(Scope.READ)
@parse_request
def list_jobs(query: JobQuery) -> Response:
    """List the jobs, the newest first."""
    page = parse_page(query.limit, query.cursor, TIME_KEY)
    with services().sessions() as session:
        found = queries.list_jobs(session, page, query.to_filters())
        summaries = [JobSummary.from_job(job) for job in found]
    following = make_next_cursor(page, [(job.created_at, job.id) for job in found])
    return to_response(JobList(jobs=summaries, next=following))


@bp.get("/<uuid:job_id>", responses={200: JobDocument, **describe_problems(JobNotFound)})
@needs(Scope.READ)
@parse_request
def show_job(path: JobPath) -> Response:
    """Show a job.

    The document contains its place in the queue, its progress, and its version or its error.
    """
    return to_response(load_job(services().sessions, path.job_id))


@bp.patch(
    "/<uuid:job_id>",
    responses={
        200: JobDocument,
        **describe_problems(JobNotFound, JobHasStarted, MalformedRequest, RequestTooLarge, UnsupportedContent),
    },
)
@needs(Scope.TRAIN)
@parse_request
def edit_job(path: JobPath, body: JobEdit) -> Response:
    """Change the notes, the tags, the priority or the visibility of a job.

    The spec of the job keeps what was sent.
    """
    objects.check_priority(body.priority)
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, "job-edited")
        editing.edit_job(session, path.job_id, **body.model_dump())
    return to_response(load_job(services().sessions, path.job_id))


@bp.delete("/<uuid:job_id>", responses={204: None, **describe_problems(JobNotFound, JobInUse)})
@needs(Scope.TRAIN)
@parse_request
def delete_job(path: JobPath) -> Response:
    """Delete a job that has ended.

    Its events, metrics, log, checkpoint, input files and results are deleted, and its candidate.
    A job that has not ended, and one whose version is published, cannot be deleted (status 409).
    """
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, "job-deleted")
        digests = deletion.delete_job(session, path.job_id)
    for digest in digests:
        tracked_files.delete_unreferenced(services().sessions, services().artifacts, digest)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get(
    "/<uuid:job_id>/inline-data",
    responses={
        200: {
            "description": "The data as they were sent in `dataset.inline`.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InlineData"}}},
        },
        **describe_problems(JobNotFound, FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def download_inline_data(path: JobPath) -> Response:
    """Download the inline data of a job.

    Only for data above 64 KiB, in whose place the spec shows a `sha256`.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
    if job.inline_file is None:
        raise FileNotFound(f"Job {job.id} has no stored inline data. Small data are in its spec.")
    return Response(services().artifacts.read(job.inline_file), content_type="application/json")


@bp.get(
    "/<uuid:job_id>/events",
    responses={
        200: describe_bytes("text/event-stream", "Events `status`, `progress`, `epoch` and `log`, until the job ends."),
        204: {"description": "The job has ended, and the client has received all its events."},
        **describe_problems(JobNotFound, TooManyListeners),
    },
)
@needs(Scope.READ)
@parse_request
def follow_job(path: JobPath, query: EventsQuery, header: EventsHeader) -> Response:
    """Stream the events of a job.

    The stream consists of server-sent events: changes of status, progress, epochs and lines of the log.
    A client that reconnects sends the number of its last event in `Last-Event-ID`.
    A client that has the document of the job already begins after its `last_event`, with `after`.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
    seen = min(max(query.after, header.last_event_id), job.last_event)  # a client cannot have received later events
    if job.status in ENDED and seen == job.last_event:
        return Response(status=HTTPStatus.NO_CONTENT)  # stops the reconnection of a browser's EventSource
    feed = services().feeds.follow(path.job_id, seen)
    stream = AdmittedStream(feed, services().gate, request.environ, get_caller())
    return Response(
        stream, content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


@bp.get(
    "/<uuid:job_id>/log",
    responses={
        200: describe_bytes("text/plain", "The last 10,000 lines. Times are UTC, from the clock of the database."),
        **describe_problems(JobNotFound),
    },
)
@needs(Scope.READ)
@parse_request
def show_log(path: JobPath) -> Response:
    """Show the log of a job.

    It contains the changes of status, the epochs, and the log lines of the worker, as text.
    """
    with services().sessions() as session:
        queries.get_job(session, path.job_id)
        found = events.list_log_events(session, path.job_id, MAX_LOG_LINES)
    return Response("".join(format_log(found)), content_type="text/plain; charset=utf-8")


@bp.get(
    "/<uuid:job_id>/tensorboard",
    responses={
        200: describe_bytes("application/zip", "A zip of the log folder. Unpack it for `tensorboard --logdir`."),
        **describe_problems(JobNotFound, FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def download_tensorboard(path: JobPath) -> Response:
    """Download the TensorBoard logs of a job.

    A job has logs if its spec sets `training.tensorboard` and it has published a version.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
    if job.version is None:
        raise FileNotFound(f"Job {job.id} has no logs, because it has published no version. It is {job.status}.")
    file = versions.get_file(job.version, TENSORBOARD_FILE)
    return make_download(
        services().artifacts.open(file.sha256),
        file.sha256,
        file.size_bytes,
        f"{job.model}-{job.id}.zip",
        "application/zip",
    )
