"""Predictions for many inputs at once, as a job; and what it answered, as far as it has come."""

import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.documents.jobs import JobDocument, load_job
from api.http.bodies import read_document
from api.http.headers import SubmitHeader
from api.http.paths import JobPath, ModelPath
from api.http.requests import parsed, validated
from api.http.responses import document, problems
from api.http.uploads import allow_upload, uploaded_file
from api.ingestion.prediction_upload import ingest_batch
from api.services import services
from api.streaming.predictions_csv import csv_of
from shared.database.tables.datasets import Revision
from shared.datasets import revisions
from shared.devices import Device
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    DatasetRefused,
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
)
from shared.jobs import batch_predictions, queries, submission
from shared.jobs.batch_predictions import Batch
from shared.preprocessing.contract import Contract, ImageContract
from shared.registry import versions
from shared.registry.manifest import Description
from shared.spec.batch_prediction import BatchSpec
from shared.spec.fields import Notes, Priority, Tags
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile

bp = APIBlueprint("batches", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="Predictions")])

JSON_LINES, CSV = "application/jsonl", "text/csv; charset=utf-8"
MULTIPART = "multipart/form-data"
ONE_OF = "Either a data set that was uploaded before, as JSON, or a `file` in a form."


class BatchQuestion(BaseModel):
    """`dataset` is `name` or `name@revision`, for data that were uploaded before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Annotated[str | None, Field(max_length=200)] = None
    version: Annotated[str | None, Field(max_length=100, description="A number, `latest` or an alias")] = None
    top: Annotated[int, Field(ge=1, le=1000, description="How many classes to name for each input")] = 1
    priority: Priority = 0
    tags: Tags = {}
    notes: Notes = ""


class AnswersPath(JobPath):
    answer_format: Literal["jsonl", "csv"]


FIELDS: dict[str, Any] = {
    "version": {"type": "string", "description": "A number, `latest` or an alias"},
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
                        "description": "A zip of images, a CSV of numbers, or an npz with x",
                    },
                    **FIELDS,
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["dataset"],
                "additionalProperties": False,
                "properties": {
                    "dataset": {"type": "string", "description": "`name`, or `name@revision`"},
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
        **problems(
            DatasetNotFound,
            DatasetRefused,
            IdempotencyKeyReused,
            MalformedRequest,
            ModelNotFound,
            RequestTooLarge,
            TooManyJobs,
            UnsupportedContent,
            VersionNotFound,
        ),
    },
    openapi_extensions={"requestBody": REQUEST_BODY},
)
@parsed
def submit_batch(path: ModelPath, header: SubmitHeader) -> Response:
    """Queue predictions for a file, or for a data set that was uploaded before. A bad input is a row that says so."""
    question = _question()
    with services().sessions() as session:
        version = (
            versions.get_served_version(session, path.model)
            if question.version is None
            else versions.get_version(session, path.model, question.version)
        )
        description = Description.model_validate(version.description)
        revision = revisions.get_revision(session, question.dataset) if question.dataset is not None else None
    if revision is None:
        files, rows = _received(description)
    else:
        files, rows = [], _rows_of(revision, description.preprocessing)
    spec = BatchSpec(
        **question.model_dump(exclude={"version", "dataset"}),
        model=version.model,
        version=version.number,
        dataset=f"{revision.dataset}@{revision.number}" if revision is not None else None,
    )
    batch = Batch(version=version.number, rows=rows, columns=_columns_of(description))
    owners = services().owners
    with services().sessions.begin() as session:
        job = submission.create_batch(
            session, spec, batch, files, header.idempotency_key, owners.current(), owners.most_queued
        )
    services().bell.ring(Device(job.device))
    return document(
        load_job(services().sessions, job.id),
        HTTPStatus.ACCEPTED,
        {"Location": url_for("jobs.show_job", job_id=job.id)},
    )


@bp.get(
    "/jobs/<uuid:job_id>/predictions.<answer_format>",
    responses={
        200: {
            "description": "In the order of the inputs, as far as the job has come",
            "content": {JSON_LINES: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}},
        },
        **problems(JobNotFound, FileNotFound, ArtifactDamaged),
    },
)
@parsed
def download_predictions(path: AnswersPath) -> Response:
    """One line for each input: as JSON all that a prediction says, as CSV the likeliest class or the numbers."""
    with services().sessions() as session:
        job = queries.get(session, path.job_id)
        parts = batch_predictions.parts_of(session, job.id)
    if job.batch is None:
        raise FileNotFound(f"Job {job.id} trains, and predicts nothing.")
    batch = Batch.model_validate(job.batch)
    if batch_predictions.have_gone(batch, parts):
        raise FileNotFound(f"What job {job.id} answered has had its time: predict it again.")
    artifacts = services().artifacts
    lines = (artifacts.read(part.sha256) for part in parts)
    is_csv = path.answer_format == "csv"
    headers = {"Content-Disposition": f'attachment; filename="{job.model}-{job.id}.{path.answer_format}"'}
    return Response(
        csv_of(lines, batch.columns) if is_csv else lines,
        content_type=CSV if is_csv else JSON_LINES,
        headers=headers,
    )


def _question() -> BatchQuestion:
    """From a form with a file, or from JSON that names a data set."""
    is_form = request.mimetype == MULTIPART
    if is_form:
        allow_upload(services().upload_limits.bytes)
    question = validated(BatchQuestion, request.form.to_dict() if is_form else read_document())
    if is_form == (question.dataset is not None):
        raise InvalidRequest("The request does not say what it must.", (Fault("#/dataset", ONE_OF),))
    return question


def _received(description: Description) -> tuple[list[StoredFile], int]:
    """What was sent, in the artifact store; and how many inputs that are."""
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        inputs = ingest_batch(
            uploaded_file(), description.preprocessing, description.columns, services().upload_limits, Path(folder)
        )
        return tracked_files.keep(services().sessions, services().artifacts, inputs.files), inputs.rows


def _rows_of(revision: Revision, contract: Contract) -> int:
    """Raises InvalidRequest where the version does not take such data."""
    facts = revisions.facts_of_revision(revision)
    takes_images = isinstance(contract, ImageContract)
    if facts.images != takes_images or not (takes_images or facts.shape == contract.input_shape):
        holds = "images" if facts.images else f"rows of {list(facts.shape)} numbers"
        takes = "images" if takes_images else f"{list(contract.input_shape)} numbers"
        detail = f"It holds {holds}, and this version takes {takes}."
        raise InvalidRequest("The data set does not fit the version.", (Fault("#/dataset", detail),))
    return facts.train_rows + facts.test_rows


def _columns_of(description: Description) -> tuple[str, ...]:
    """Of the CSV, those that hold answers."""
    if description.classes:
        return ("label", "class", "probability")
    width = description.signature.outputs[0].shape[-1]
    return ("value",) if width == 1 else tuple(f"value_{place}" for place in range(width))
