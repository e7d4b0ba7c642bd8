"""Cancel, stop and retry jobs, and publish what they have trained."""

from http import HTTPStatus
from typing import Literal

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import objects
from api.access.callers import get_caller
from api.access.needs import needs
from api.documents.jobs import JobDocument, load_job
from api.http.paths import JobPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.database.tables.jobs import JobStatus
from shared.devices import Device
from shared.errors import (
    DatasetNotFound,
    JobCannotBeRetried,
    JobHasEnded,
    JobNotFound,
    JobNotStarted,
    NameTaken,
    TooManyJobs,
    VersionNotFound,
)
from shared.jobs import lifecycle, queries, submission
from shared.registry import versions

bp = APIBlueprint("job_actions", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class RetryQuery(BaseModel):
    from_: Literal["checkpoint", "start"] = Field(
        default="checkpoint",
        alias="from",
        description="`checkpoint`: resume from the last checkpoint. `start`: start from the beginning.",
    )


@bp.post(
    "/<uuid:job_id>/cancellation",
    responses={202: JobDocument, 200: JobDocument, **describe_problems(JobNotFound, JobHasEnded)},
)
@needs(Scope.TRAIN)
@parse_request
def cancel_job(path: JobPath) -> Response:
    """Cancel a job.

    A queued job ends at once (status 200), a running job at its next batch (status 202).
    The checkpoint of the job is kept for a retry.
    """
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, "job-cancelled")
        job = lifecycle.cancel(session, path.job_id)
    status = HTTPStatus.ACCEPTED if job.status == JobStatus.CANCELLING else HTTPStatus.OK
    return to_response(load_job(services().sessions, job.id), status)


@bp.post(
    "/<uuid:job_id>/stop", responses={202: JobDocument, **describe_problems(JobNotFound, JobHasEnded, JobNotStarted)}
)
@needs(Scope.TRAIN)
@parse_request
def stop_job(path: JobPath) -> Response:
    """Stop a job early and keep its result.

    A training finishes its epoch and publishes the weights that `training.keep` in the spec selects.
    A batch prediction keeps the results so far.
    """
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, "job-stopped")
        job = lifecycle.stop(session, path.job_id)
    return to_response(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED)


@bp.post(
    "/<uuid:job_id>/retry",
    responses={
        201: JobDocument,
        200: JobDocument,
        **describe_problems(JobNotFound, DatasetNotFound, JobCannotBeRetried, NameTaken, TooManyJobs),
    },
)
@needs(Scope.TRAIN)
@parse_request
def retry_job(path: JobPath, query: RetryQuery) -> Response:
    """Retry a failed or cancelled job.

    A new job with the same spec resumes from the checkpoint, or starts from the beginning.
    If an earlier retry has not ended yet, the response is that job, with status 200.
    Where people sign in, the new job belongs to who retries it.
    """
    owner = services().owners.get_current()
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, "job-retried")
        objects.claim_repeated(session, path.job_id)
        job, is_new = submission.create_retry(
            session,
            path.job_id,
            owner if get_caller().via != "open" else None,
            services().owners.max_queued,
            from_start=query.from_ == "start",
        )
        if is_new:
            objects.limit_priority(job)
    services().notifier.notify(Device(job.device))
    location = url_for("jobs.show_job", job_id=job.id)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})


@bp.post(
    "/<uuid:job_id>/publication",
    responses={201: JobDocument, 200: JobDocument, **describe_problems(JobNotFound, VersionNotFound)},
)
@needs(Scope.TRAIN)
@parse_request
def publish_candidate(path: JobPath) -> Response:
    """Publish the candidate of a job, the version of a training with `publish: false`.

    It gets the next number of its model. A second request changes nothing (status 200).
    """
    with services().sessions.begin() as session:
        objects.check_job(session, path.job_id, None)
        version = versions.get_of_job(session, queries.get_job(session, path.job_id))
        is_new, model = versions.publish_candidate(session, version), version.model
        if is_new:
            objects.record(session, "job-published", "job", str(path.job_id), after={"version": version.number})
    services().model_cache.invalidate(model)
    return to_response(load_job(services().sessions, path.job_id), HTTPStatus.CREATED if is_new else HTTPStatus.OK)
