"""Import model files of Keras as versions."""

import contextlib
import tempfile
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import objects
from api.access.needs import needs
from api.documents.jobs import JobDocument, load_job
from api.http.bodies import MAX_YAML_BYTES, parse_document
from api.http.paths import NewModelPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.http.uploads import allow_upload, get_uploaded_file, read_form
from api.http.validation import validate
from api.ingestion.models.model_files import ARRAYS_FILE, ModelFile
from api.planner.messages import PlanRequest
from api.services import services
from shared.access.rights import Scope
from shared.database.tables.jobs import Job
from shared.datasets.info import DatasetInfo
from shared.devices import Device
from shared.errors import (
    DiskFull,
    Fault,
    InvalidRequest,
    MalformedRequest,
    Overloaded,
    PlanningUnavailable,
    RequestTooLarge,
    TooManyJobs,
    UnsupportedContent,
)
from shared.inference.samples import preprocess_samples
from shared.jobs import version_jobs
from shared.registry.imports import build_import_contract, complete_meaning, describe_import, make_plan_spec
from shared.spec.fields import PROJECT_TEXT, Notes, Priority, ProjectName, Tags
from shared.spec.model_import import ImportMeaning, ImportSpec
from shared.spec.network import NetworkSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile

MULTIPART = "multipart/form-data"
DOCUMENTS = ("preprocessing", "scaling", "vocabulary", "classes", "labels", "samples", "network", "tags", "from_logits")
"""Fields of the form that are JSON or YAML."""
MAX_FIELDS_BYTES = 16 * 2**20
"""A vocabulary, or the images of samples, take megabytes."""
TEXT = {"type": "string"}

bp = APIBlueprint("imports", __name__, url_prefix="/api/v1/models/<model>/imports", abp_tags=[Tag(name="Models")])

BODY: dict[str, Any] = {
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
                        "description": "A `.keras`, a whole-model `.h5`, or a `.weights.h5` with `network`.",
                    },
                    "classes": {
                        **TEXT,
                        "description": 'The classes in the order of the outputs, `["cat", "dog"]`, or `10`.',
                    },
                    "labels": {**TEXT, "description": "Labels of which an input can have several, instead of classes."},
                    "task": {
                        **TEXT,
                        "enum": ["regression"],
                        "description": "The outputs are numbers, without classes.",
                    },
                    "kind": {**TEXT, "enum": ["images", "numbers", "texts"], "description": "Default: by the input."},
                    "preprocessing": {**TEXT, "description": "As in a training spec, as JSON or YAML."},
                    "scaling": {**TEXT, "description": "`{offset, divisor}` of `scale: standardize`."},
                    "vocabulary": {
                        **TEXT,
                        "description": "For texts: a list of words, or `word_index` of a Tokenizer.",
                    },
                    "samples": {
                        **TEXT,
                        "description": "`{inputs, outputs}`: inputs as a client sends them, and the model's answers.",
                    },
                    "from_logits": {
                        "type": "boolean",
                        "description": "The outputs are logits: an activation is appended.",
                    },
                    "network": {**TEXT, "description": "As in a training spec; only for a `.weights.h5`."},
                    "priority": {"type": "integer"},
                    "tags": TEXT,
                    "notes": TEXT,
                },
            }
        }
    },
}


class ImportQuery(BaseModel):
    project: ProjectName | None = Field(default=None, description=PROJECT_TEXT)


class ImportForm(ImportMeaning):
    """The fields of the form, except `file`."""

    network: NetworkSpec | None = None
    priority: Priority = 0
    tags: Tags = Field(default={})
    notes: Notes = ""


@bp.post(
    "",
    responses={
        202: JobDocument,
        **describe_problems(
            DiskFull,
            MalformedRequest,
            Overloaded,
            PlanningUnavailable,
            RequestTooLarge,
            TooManyJobs,
            UnsupportedContent,
        ),
    },
    openapi_extensions={"requestBody": BODY},
)
@needs(Scope.TRAIN)
@parse_request
def import_model(path: NewModelPath, query: ImportQuery) -> Response:
    """Import a model of Keras as a version.

    Nothing of the file is executed: its network must consist of the layers of the catalog.
    A job builds it, runs the samples, and publishes the version only if their outputs are equal.
    """
    limit = services().ingestor.limits.bytes
    allow_upload(limit, services().disk)
    if request.mimetype != MULTIPART:
        raise UnsupportedContent(f"The Content-Type is {request.mimetype or 'missing'!r}. Send a form with a `file`.")
    request.max_form_memory_size = MAX_FIELDS_BYTES
    form = validate(ImportForm, _read_fields())
    objects.check_priority(form.priority)
    owners = services().owners
    owner = owners.get_current()
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        found = services().ingestor.read_model(get_uploaded_file(), Path(folder))
        model = objects.choose_model_name(path.model, per_user=owners.names_per_user)
        spec, info = _make_spec(model, form, found)
        _check(spec, info, owner)

        def submit(stored: list[StoredFile]) -> Job:
            with services().sessions.begin() as session:
                objects.claim_model(session, spec.model, query.project)
                return version_jobs.create_import(session, spec, stored[0], owner, owners.max_queued)

        paths = [Path(folder, ARRAYS_FILE)]
        job = tracked_files.store_and_reference(services().sessions, services().artifacts, paths, submit)
    services().notifier.notify(Device(job.device))
    location = url_for("jobs.show_job", job_id=job.id)
    return to_response(load_job(services().sessions, job.id), HTTPStatus.ACCEPTED, {"Location": location})


def _read_fields() -> dict[str, Any]:
    """Return the fields of the form, those of DOCUMENTS parsed. Raises InvalidRequest or MalformedRequest."""
    fields = read_form()
    if (priority := fields.get("priority", "")).removeprefix("-").isdecimal():
        fields["priority"] = int(priority[:10])
    for name in DOCUMENTS:
        if name in fields:
            fields[name] = _parse_field(name, fields[name].strip())
    return fields


def _parse_field(name: str, text: str) -> Any:  # noqa: ANN401 - JSON
    """Parse a field that is JSON or YAML, as `{a: b}` is. Raises InvalidRequest or MalformedRequest."""
    content, is_json = text.encode(), text.startswith(("{", "["))
    try:
        if is_json:
            with contextlib.suppress(MalformedRequest):
                return parse_document(content, is_yaml=False)
        return parse_document(content, is_yaml=len(content) <= MAX_YAML_BYTES)
    except MalformedRequest as error:
        raise MalformedRequest(f"The field `{name}`: {error.detail}", error.faults) from None


def _make_spec(model: str, form: ImportForm, found: ModelFile) -> tuple[ImportSpec, DatasetInfo]:
    """Build the spec of the import, and describe the data that the model takes. Raises InvalidRequest."""
    if (found.architecture is None) == (form.network is None):
        detail = "The file has only weights. Send the network too, as in a training spec."
        if form.network is not None:
            detail = "The file has its own network. Remove `network`, or send a file of weights alone."
        raise InvalidRequest("The request is invalid.", (Fault("#/network", detail),))
    network = form.network or NetworkSpec(keras=found.architecture)
    if network.from_ is not None or network.weights is not None or network.initial_weights is not None:
        detail = "Only `layers` or `keras` describe the network of an import: its weights are in the file."
        raise InvalidRequest("The request is invalid.", (Fault("#/network", detail),))
    meaning = ImportMeaning.model_validate({key: getattr(form, key) for key in ImportMeaning.model_fields})
    info = describe_import(meaning, network)
    spec = ImportSpec(
        model=model,
        network=network,
        file=found.file,
        meaning=complete_meaning(meaning, info),
        priority=form.priority,
        tags=form.tags,
        notes=form.notes,
    )
    return spec, info


def _check(spec: ImportSpec, info: DatasetInfo, owner: str) -> None:
    """Check that the network can be built and answers what the form says. Raises InvalidRequest."""
    contract = build_import_contract(spec.meaning, info)
    if spec.meaning.samples is not None:
        preprocess_samples(spec.meaning.samples.inputs, contract, services().decoder)
    plan_spec, plan_info = make_plan_spec(spec, info, contract)
    try:
        services().planner.plan(PlanRequest(spec=plan_spec, uploaded=plan_info), owner)
    except InvalidRequest as error:  # the form has `from_logits` in place of a loss
        faults = (replace(one, pointer=one.pointer.replace("#/training/loss/", "#/")) for one in error.faults)
        raise InvalidRequest(error.detail, tuple(faults)) from None
