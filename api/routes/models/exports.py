"""Export versions to the formats of other systems, and list what there is."""

from http import HTTPStatus

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict

from api.access import objects
from api.access.needs import needs
from api.documents.exports import ExportList, list_exports
from api.documents.jobs import JobDocument, load_job
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.devices import Device
from shared.errors import (
    DiskFull,
    Fault,
    InvalidRequest,
    MalformedRequest,
    ModelNotFound,
    TooManyJobs,
    UnsupportedContent,
    VersionNotFound,
    VersionNotPublished,
)
from shared.jobs import version_jobs
from shared.registry import versions
from shared.registry.imports import check_has_data
from shared.spec.export import NOT_FOR_TEXTS, ExportFormat, ExportSpec
from shared.spec.fields import Notes, Priority, Tags

bp = APIBlueprint(
    "exports",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>/exports",
    abp_tags=[Tag(name="Models")],
)


class ExportRequest(BaseModel):
    """A request for an export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: ExportFormat
    priority: Priority = 0
    tags: Tags = {}
    notes: Notes = ""


@bp.post(
    "",
    responses={
        200: JobDocument,
        202: JobDocument,
        **describe_problems(
            DiskFull,
            MalformedRequest,
            ModelNotFound,
            TooManyJobs,
            UnsupportedContent,
            VersionNotFound,
            VersionNotPublished,
        ),
    },
)
@needs(Scope.TRAIN)
@parse_request
def export_version(path: VersionPath, body: ExportRequest) -> Response:
    """Export a version to the format of another system.

    A job writes the file, runs it on the golden samples, and adds it to the files of the version.
    If such a job exists already, the answer is that job, with status 200.
    """
    objects.check_priority(body.priority)
    services().disk.check()
    owners = services().owners
    with services().sessions.begin() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        if body.format is ExportFormat.TFLITE_INT8:
            check_has_data(version, "the choice of 8 bits")
        if body.format in NOT_FOR_TEXTS and version.manifest["preprocessing"]["kind"] == "texts":
            detail = f"`{body.format}` scales inputs, and those of this version are word indices. Use another format."
            raise InvalidRequest("The version cannot be exported.", (Fault("#/format", detail),))
        spec = ExportSpec(**body.model_dump(), model=version.model, version=versions.get_number(version))
        job, is_new = version_jobs.create_version_job(session, spec, owners.get_current(), owners.max_queued)
    if is_new:
        services().notifier.notify(Device(job.device))
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})


@bp.get("", responses={200: ExportList, **describe_problems(ModelNotFound, VersionNotFound)})
@needs(Scope.READ)
@parse_request
def list_version_exports(path: VersionPath) -> Response:
    """List the formats to which a version can be exported, and the files that there are."""
    with services().sessions() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        return to_response(list_exports(session, version))
