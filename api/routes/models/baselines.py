"""Compare versions with simple models of the same data."""

from http import HTTPStatus

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from api.access.needs import needs
from api.documents.jobs import JobDocument, load_job
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    DiskFull,
    EvaluationNotFound,
    ModelNotFound,
    TooManyJobs,
    VersionNotFound,
    VersionNotPublished,
)
from shared.jobs import version_jobs
from shared.registry import versions
from shared.registry.baselines import BASELINES_FILE, Baselines
from shared.registry.evaluation import read_evaluation_file
from shared.registry.imports import check_has_data
from shared.spec.baselines import BaselineSpec

bp = APIBlueprint(
    "baselines",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>/baselines",
    abp_tags=[Tag(name="Models")],
)


@bp.get(
    "",
    responses={
        200: Baselines,
        **describe_problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def show_baselines(path: VersionPath) -> Response:
    """Show how simple models do on the data of a version."""
    version = services().get_version(path.model, path.reference)
    content = read_evaluation_file(services().artifacts, version, BASELINES_FILE)
    return to_response(Baselines.model_validate_json(content))


@bp.post(
    "",
    responses={
        200: JobDocument,
        202: JobDocument,
        **describe_problems(DiskFull, ModelNotFound, TooManyJobs, VersionNotFound, VersionNotPublished),
    },
)
@needs(Scope.TRAIN)
@parse_request
def compute_baselines(path: VersionPath) -> Response:
    """Compute the baselines of a version.

    A job trains simple models of scikit-learn on the rows that the version was trained on.
    If such a job exists already, the answer is that job, with status 200.
    """
    services().disk.check()
    owners = services().owners
    with services().sessions.begin() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        check_has_data(version, "a baseline")
        spec = BaselineSpec(model=version.model, version=versions.get_number(version), priority=0, tags={}, notes="")
        job, is_new = version_jobs.create_version_job(session, spec, owners.get_current(), owners.max_queued)
    if is_new:
        services().notifier.notify(Device(job.device))
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})
