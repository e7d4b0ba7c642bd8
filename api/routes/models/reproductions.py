"""Train versions again, and show whether the result is equal."""

from http import HTTPStatus

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from api.access import objects
from api.access.needs import needs
from api.documents.jobs import JobDocument, load_job
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.devices import Device
from shared.errors import DatasetNotFound, JobNotFound, ModelNotFound, TooManyJobs, VersionNotFound, VersionNotPublished
from shared.jobs import submission
from shared.registry import versions
from shared.registry.imports import check_has_data
from shared.spec.training import TrainingSpec

bp = APIBlueprint(
    "reproductions",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>/reproduction",
    abp_tags=[Tag(name="Models")],
)


@bp.post(
    "",
    responses={
        202: JobDocument,
        **describe_problems(ModelNotFound, VersionNotFound, VersionNotPublished, DatasetNotFound, TooManyJobs),
    },
)
@needs(Scope.TRAIN)
@parse_request
def reproduce_version(path: VersionPath) -> Response:
    """Train a version again.

    A new job trains from the recorded spec and data, and publishes no version.
    The field `reproduction` of the job tells whether the weights are equal.
    """
    owners = services().owners
    with services().sessions.begin() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        check_has_data(version, "a reproduction")
        spec = TrainingSpec.model_validate(version.manifest["lineage"]["spec"])
        job = submission.create_reproduction(
            session, spec, version.model, versions.get_number(version), owners.get_current(), owners.max_queued
        )
        objects.limit_priority(job)
    services().notifier.notify(Device(job.device))
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED, {"Location": location})


@bp.get(
    "",
    responses={200: JobDocument, **describe_problems(ModelNotFound, VersionNotFound, VersionNotPublished, JobNotFound)},
)
@needs(Scope.READ)
@parse_request
def show_reproduction(path: VersionPath) -> Response:
    """Show the newest reproduction of a version."""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
        job = submission.find_reproduction(session, version.model, versions.get_number(version))
    return to_response(load_job(services().sessions, job.id))
