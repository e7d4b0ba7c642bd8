"""Submit batch predictions, which predict many inputs as a job, and download their results."""

import itertools
import tempfile
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import objects
from api.access.needs import needs
from api.documents.jobs import JobDocument, load_job
from api.http.bodies import parse_document
from api.http.headers import SubmitHeader
from api.http.paths import JobPath, ModelPath
from api.http.reading.document_reader import read_document
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.http.uploads import ENCODING_FIELD, allow_upload, get_uploaded_file, read_form
from api.http.validation import validate
from api.services import services
from api.streaming.predictions_csv import format_csv
from shared.access.rights import Scope
from shared.database.tables.datasets import Revision
from shared.database.tables.jobs import Job, JobKind
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    DatasetRefused,
    DiskFull,
    Fault,
    FileNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFound,
    MalformedRequest,
    ModelNotFound,
    RequestTooLarge,
    TooManyJobs,
    UnsupportedContent,
    VersionNotFound,
    VersionNotPublished,
)
from shared.jobs import batch_predictions, queries
from shared.jobs.batch_predictions import BatchState
from shared.registry import versions
from shared.registry.compatibility import check_inputs
from shared.registry.manifest import VersionManifest
from shared.spec.batch_prediction import BatchSpec
from shared.spec.fields import Notes, Priority, Tags
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile

bp = APIBlueprint("batches", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="Predictions")])

JSON_LINES, CSV = "application/jsonl", "text/csv; charset=utf-8"
MULTIPART = "multipart/form-data"
MAX_TAGS_CHARACTERS = 20_000
ONE_OF = "Send either JSON with the name of an uploaded data set, or a form with a `file`."


class BatchPredictionRequest(BaseModel):
    """A request for a batch prediction. `dataset` is `name` or `name@revision`; None if the form has a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Annotated[str | None, Field(max_length=200)] = None
    version: Annotated[str | None, Field(max_length=100, description="A number, `latest` or an alias.")] = None
    top: Annotated[int, Field(ge=1, le=1000, description="The number of most probable classes to return.")] = 1
    priority: Priority = 0
    tags: Tags = {}
    notes: Notes = ""


class PredictionsPath(JobPath):
    answer_format: Literal["jsonl", "csv"]


class PredictionsQuery(BaseModel):
    bom: bool = Field(
        default=False, description="Begin the CSV with a byte order mark, by which Excel recognises UTF-8."
    )


FIELDS: dict[str, Any] = {
    "version": {
        "type": "string",
        "description": "A number, `latest` or an alias. Default: the version of `production`, else the latest version.",
    },
    "top": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1},
    "notes": {"type": "string"},
}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "A zip of images or texts, a CSV, or an npz with `x`.",
                    },
                    **FIELDS,
                    "priority": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
                    "tags": {"type": "string", "description": 'JSON, such as `{"course": "2026-fall"}`.'},
                    "encoding": ENCODING_FIELD,
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["dataset"],
                "additionalProperties": False,
                "properties": {
                    "dataset": {"type": "string", "description": "An uploaded data set: `name` or `name@revision`."},
                    **FIELDS,
                    "priority": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
                    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }
        },
    },
}


@bp.post(
    "/models/<model>/batch-predictions",
    responses={
        202: JobDocument,
        **describe_problems(
            DatasetNotFound,
            DatasetRefused,
            DiskFull,
            IdempotencyKeyReused,
            MalformedRequest,
            ModelNotFound,
            RequestTooLarge,
            TooManyJobs,
            UnsupportedContent,
            VersionNotFound,
            VersionNotPublished,
        ),
    },
    openapi_extensions={"requestBody": REQUEST_BODY},
)
@needs(Scope.TRAIN)
@parse_request
def submit_batch_prediction(path: ModelPath, header: SubmitHeader) -> Response:
    """Submit a batch prediction.

    Send a file in a form, or JSON with the name of an uploaded data set.
    An input that cannot be read has a problem as its result; the other inputs are predicted.
    """
    services().disk.check()
    body, encoding = _parse_batch_request()
    with services().sessions() as session:
        version = (
            versions.get_served_version(session, path.model)
            if body.version is None
            else versions.get_version(session, path.model, body.version)
        )
        description = VersionManifest.model_validate(version.manifest)
        revision = revisions.get_revision(session, body.dataset) if body.dataset is not None else None
    spec = BatchSpec(
        **body.model_dump(exclude={"version", "dataset"}),
        model=version.model,
        version=versions.get_number(version),
        dataset=f"{revision.dataset}@{revision.number}" if revision is not None else None,
    )
    objects.check_priority(body.priority)
    owners = services().owners
    owner = owners.get_current()
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        if revision is None:
            paths, rows = _ingest_upload(description, encoding, Path(folder))
        else:
            paths, rows = [], _count_rows(revision, description)
        batch = BatchState(version=versions.get_number(version), rows=rows, columns=_list_columns(description))

        def submit(files: list[StoredFile]) -> Job:
            with services().sessions.begin() as session:
                return batch_predictions.create(
                    session, spec, batch, files, header.idempotency_key, owner, owners.max_queued
                )

        job = tracked_files.store_and_reference(services().sessions, services().artifacts, paths, submit)
    services().notifier.notify(Device(job.device))
    return to_response(
        load_job(services().sessions, job.id),
        HTTPStatus.ACCEPTED,
        {"Location": url_for("jobs.show_job", job_id=job.id)},
    )


@bp.get(
    "/jobs/<uuid:job_id>/predictions.<answer_format>",
    responses={
        200: {
            "description": "The results so far, in the order of the inputs.",
            "content": {JSON_LINES: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}},
        },
        **describe_problems(JobNotFound, FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def download_predictions(path: PredictionsPath, query: PredictionsQuery) -> Response:
    """Download the results of a batch prediction.

    Each input has one line.
    In `jsonl`, a line is the complete prediction; in `csv`, it is the most probable class, or the numbers.
    With `bom=1`, the CSV begins with a byte order mark, by which Excel recognises UTF-8.
    While the job runs, the file contains the results so far.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
        parts = batch_predictions.list_parts(session, job.id)
    if job.kind != JobKind.PREDICTION:
        raise FileNotFound(f"Job {job.id} is a {job.kind} job and has no predictions.")
    batch = BatchState.model_validate(job.batch)
    if batch_predictions.have_expired(batch, parts):
        raise FileNotFound(
            f"The results of job {job.id} have expired (TRAINYARD_RETAIN_PREDICTIONS_DAYS). "
            "Submit the batch prediction again."
        )
    artifacts = services().artifacts
    lines = (artifacts.read(part.sha256) for part in parts)
    headers = {"Content-Disposition": f'attachment; filename="{job.model}-{job.id}.{path.answer_format}"'}
    if path.answer_format == "jsonl":
        return Response(lines, content_type=JSON_LINES, headers=headers)
    mark = "\ufeff" if query.bom else ""
    return Response(itertools.chain([mark], format_csv(lines, batch.columns)), content_type=CSV, headers=headers)


def _parse_batch_request() -> tuple[BatchPredictionRequest, str | None]:
    """Parse a form with a file, or JSON that names a data set. Return it, and the encoding that the form states.

    Raises InvalidRequest if both or neither are given.
    """
    is_form, encoding = request.mimetype == MULTIPART, None
    if is_form:
        allow_upload(services().ingestor.limits.bytes, services().disk)
        fields = _read_fields()
        encoding = fields.pop("encoding", None)
        body = validate(BatchPredictionRequest, fields)
    else:
        body = read_document(BatchPredictionRequest)
    if is_form == (body.dataset is not None):
        raise InvalidRequest("The request is invalid.", (Fault("#/dataset", ONE_OF),))
    if body.dataset in BUILTIN_DATASETS:
        detail = f"{body.dataset!r} is a built-in data set, and a batch reads an uploaded one. Send the rows as a file."
        raise InvalidRequest("The request is invalid.", (Fault("#/dataset", detail),))
    return body, encoding


def _read_fields() -> dict[str, Any]:
    """Return the fields of the form, with `priority` as a number and `tags` parsed from JSON. Raises InvalidRequest."""
    fields = read_form()
    if (priority := fields.get("priority", "")).removeprefix("-").isdecimal():
        fields["priority"] = int(priority[:10])
    if "tags" in fields:
        fields["tags"] = parse_document(fields["tags"][:MAX_TAGS_CHARACTERS].encode(), is_yaml=False)
    return fields


def _ingest_upload(description: VersionManifest, encoding: str | None, folder: Path) -> tuple[Sequence[Path], int]:
    """Write the uploaded inputs to files in `folder`. Return their paths and the number of inputs."""
    inputs = services().ingestor.ingest_prediction_inputs(
        get_uploaded_file(), description.preprocessing, description.columns, encoding, folder
    )
    return inputs.files, inputs.rows


def _count_rows(revision: Revision, description: VersionManifest) -> int:
    """Return the number of rows of the data set. Raises InvalidRequest if the version cannot predict them."""
    info = revisions.to_dataset_info(revision)
    check_inputs(description, info, tuple(revision.description["columns"]))
    return info.rows


def _list_columns(description: VersionManifest) -> tuple[str, ...]:
    """List the columns of the CSV that contain predictions."""
    if description.classes:
        return ("label", "class", "probability")
    if description.labels:
        return ("labels", *description.labels)
    width = description.signature.outputs[0].shape[-1]
    return ("value",) if width == 1 else tuple(f"value_{index}" for index in range(width))
