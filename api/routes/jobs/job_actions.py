"""Edit, delete, cancel, stop and retry jobs."""

from http import HTTPStatus
from typing import Literal

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.documents.jobs import JobDocument, load_job
from api.http.paths import JobPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.database.tables.jobs import JobStatus
from shared.devices import Device
from shared.errors import (
    DatasetNotFound,
    JobCannotBeRetried,
    JobHasEnded,
    JobHasStarted,
    JobInUse,
    JobNotFound,
    JobNotStarted,
    MalformedRequest,
    RequestTooLarge,
    TooManyJobs,
    UnsupportedContent,
)
from shared.jobs import deletion, editing, lifecycle, submission
from shared.spec.fields import Notes, Priority, Tags
from shared.storage import tracked_files

bp = APIBlueprint("job_actions", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class JobEdit(BaseModel):
    """The changes of a job. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notes: Notes | None = None
    tags: Tags | None = Field(default=None, description="All tags of the job: others are removed.")
    priority: Priority | None = Field(default=None, description="Only for a job that is queued.")


class RetryQuery(BaseModel):
    from_: Literal["checkpoint", "start"] = Field(
        default="checkpoint",
        alias="from",
        description="`checkpoint`: resume from the last checkpoint. `start`: start from the beginning.",
    )


@bp.patch(
    "/<uuid:job_id>",
    responses={
        200: JobDocument,
        **describe_problems(JobNotFound, JobHasStarted, MalformedRequest, RequestTooLarge, UnsupportedContent),
    },
)
@parse_request
def edit_job(path: JobPath, body: JobEdit) -> Response:
    """Change the notes, the tags or the priority of a job.

    The spec of the job keeps what was sent.
    """
    with services().sessions.begin() as session:
        editing.edit_job(session, path.job_id, **body.model_dump())
    return to_response(load_job(services().sessions, path.job_id))


@bp.delete("/<uuid:job_id>", responses={204: None, **describe_problems(JobNotFound, JobInUse)})
@parse_request
def delete_job(path: JobPath) -> Response:
    """Delete a job that has ended.

    Its events, metrics, log, checkpoint, input files and results are deleted.
    A job that has not ended, and one whose version exists, cannot be deleted (status 409).
    """
    with services().sessions.begin() as session:
        digests = deletion.delete_job(session, path.job_id)
    for digest in digests:
        tracked_files.delete_unreferenced(services().sessions, services().artifacts, digest)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.post(
    "/<uuid:job_id>/cancellation",
    responses={202: JobDocument, 200: JobDocument, **describe_problems(JobNotFound, JobHasEnded)},
)
@parse_request
def cancel_job(path: JobPath) -> Response:
    """Cancel a job.

    A queued job ends at once (status 200), a running job at its next batch (status 202).
    The checkpoint of the job is kept for a retry.
    """
    with services().sessions.begin() as session:
        job = lifecycle.cancel(session, path.job_id)
    status = HTTPStatus.ACCEPTED if job.status == JobStatus.CANCELLING else HTTPStatus.OK
    return to_response(load_job(services().sessions, job.id), status)


@bp.post(
    "/<uuid:job_id>/stop", responses={202: JobDocument, **describe_problems(JobNotFound, JobHasEnded, JobNotStarted)}
)
@parse_request
def stop_job(path: JobPath) -> Response:
    """Stop a job early and keep its result.

    A training finishes its epoch and publishes the weights that `training.keep` in the spec selects.
    A batch prediction keeps the results so far.
    """
    with services().sessions.begin() as session:
        job = lifecycle.stop(session, path.job_id)
    return to_response(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED)


@bp.post(
    "/<uuid:job_id>/retry",
    responses={
        201: JobDocument,
        200: JobDocument,
        **describe_problems(JobNotFound, DatasetNotFound, JobCannotBeRetried, TooManyJobs),
    },
)
@parse_request
def retry_job(path: JobPath, query: RetryQuery) -> Response:
    """Retry a failed or cancelled job.

    A new job with the same spec resumes from the checkpoint, or starts from the beginning.
    If an earlier retry has not ended yet, the response is that job, with status 200.
    """
    with services().sessions.begin() as session:
        job, is_new = submission.create_retry(
            session, path.job_id, services().owners.max_queued, from_start=query.from_ == "start"
        )
    services().notifier.notify(Device(job.device))
    location = url_for("jobs.show_job", job_id=job.id)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})
