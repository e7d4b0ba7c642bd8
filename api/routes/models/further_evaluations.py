"""Evaluate versions on other rows than their test part."""

from http import HTTPStatus
from typing import Annotated

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import objects
from api.access.needs import needs
from api.documents.base import Document
from api.documents.jobs import JobDocument, load_job
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    DiskFull,
    EvaluationNotFound,
    MalformedRequest,
    ModelNotFound,
    TooManyJobs,
    UnsupportedContent,
    VersionNotFound,
    VersionNotPublished,
)
from shared.jobs import version_jobs
from shared.registry import versions
from shared.registry.compatibility import check_inputs, check_labels
from shared.registry.further_evaluations import FurtherEvaluation, find_key, get_file_name
from shared.registry.imports import check_has_data
from shared.registry.manifest import VersionManifest
from shared.spec.evaluation import EvaluatedPart, EvaluationSpec
from shared.spec.fields import Notes, Priority, Tags

bp = APIBlueprint(
    "further_evaluations",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>/evaluations",
    abp_tags=[Tag(name="Evaluation")],
)


class EvaluationRequest(BaseModel):
    """A request for an evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Annotated[
        str | None,
        Field(max_length=200, description="A data set as `name` or `name@revision`. Default: that of the training."),
    ] = None
    part: Annotated[
        EvaluatedPart | None,
        Field(description="The rows. Default: `all` of another data set, `test` of that of the training."),
    ] = None
    priority: Priority = 0
    tags: Tags = {}
    notes: Notes = ""


class EvaluationPath(VersionPath):
    key: str = Field(max_length=300, description="The key of the evaluation, such as `flowers@2.all`.")


class EvaluationSummary(Document):
    """An evaluation of a version. `key` tells it apart, and is the end of the path of its report."""

    key: str
    dataset: str | None = Field(description="The data set as `name@revision`; null for the data of the training.")
    part: EvaluatedPart
    rows: int
    metrics: dict[str, float | None]


class EvaluationList(Document):
    """The evaluations of a version on other rows than its test part, ordered by their keys."""

    evaluations: list[EvaluationSummary]


@bp.post(
    "",
    responses={
        200: JobDocument,
        202: JobDocument,
        **describe_problems(
            DatasetNotFound,
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
def evaluate_version(path: VersionPath, body: EvaluationRequest) -> Response:
    """Evaluate a version on other rows than its test part.

    A job predicts all rows of a part or of another data set, whose classes the version must know.
    If such a job exists already, the answer is that job, with status 200.
    """
    objects.check_priority(body.priority)
    services().disk.check()
    owners = services().owners
    with services().sessions.begin() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        dataset = body.dataset
        if dataset is None:
            check_has_data(version, "an evaluation without `dataset`")
        else:
            manifest = VersionManifest.model_validate(version.manifest)
            if dataset in BUILTIN_DATASETS:
                info, columns = BUILTIN_DATASETS[dataset].info, ()
            else:
                revision = revisions.get_revision(session, dataset)
                info, columns = revisions.to_dataset_info(revision), tuple(revision.description["columns"])
                dataset = f"{revision.dataset}@{revision.number}"
            check_inputs(manifest, info, columns)
            check_labels(manifest, info)
        spec = EvaluationSpec(
            model=version.model,
            version=versions.get_number(version),
            dataset=dataset,
            part=body.part or ("test" if dataset is None else "all"),
            **body.model_dump(include={"priority", "tags", "notes"}),
        )
        job, is_new = version_jobs.create_version_job(session, spec, owners.get_current(), owners.max_queued)
    if is_new:
        services().notifier.notify(Device(job.device))
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), status, {"Location": location})


@bp.get("", responses={200: EvaluationList, **describe_problems(ModelNotFound, VersionNotFound, ArtifactDamaged)})
@needs(Scope.READ)
@parse_request
def list_further_evaluations(path: VersionPath) -> Response:
    """List the evaluations of a version on other rows than its test part."""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    keys = sorted((key, file.sha256) for file in version.files if (key := find_key(file.name)) is not None)
    found = [(key, FurtherEvaluation.model_validate_json(services().artifacts.read(digest))) for key, digest in keys]
    return to_response(
        EvaluationList(
            evaluations=[
                EvaluationSummary(
                    key=key,
                    dataset=one.dataset,
                    part=one.part,
                    rows=one.evaluation.rows,
                    metrics=one.evaluation.metrics,
                )
                for key, one in found
            ]
        )
    )


@bp.get(
    "/<key>",
    responses={
        200: FurtherEvaluation,
        **describe_problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def show_further_evaluation(path: EvaluationPath) -> Response:
    """Show an evaluation of a version on other rows than its test part."""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    name = get_file_name(path.key)
    for file in version.files:
        if file.name == name and find_key(name) is not None:
            return to_response(FurtherEvaluation.model_validate_json(services().artifacts.read(file.sha256)))
    raise EvaluationNotFound(
        f"Version {version.reference} of {version.model!r} has no evaluation {path.key!r}. POST to `evaluations` makes "
        "it."
    )
