"""Upload, list, show and preview data sets."""

import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy.orm import Session

from api.access import objects
from api.access.callers import get_caller
from api.access.needs import needs
from api.charts.dataset_preview import make_builtin_preview, make_preview
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.documents.datasets import (
    DatasetDocument,
    DatasetList,
    RevisionDocument,
    format_builtin,
    format_dataset,
    format_revision,
)
from api.http.bodies import parse_document
from api.http.pagination import TEXT_KEY, ProjectQuery, make_next_cursor, parse_page
from api.http.paths import DatasetPath, PreviewPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.http.uploads import ENCODING_FIELD, allow_upload, get_uploaded_file, read_form
from api.http.validation import validate
from api.ingestion.result import ColumnOptions, ParsedDataset, TableOptions
from api.ingestion.targets import Task
from api.services import services
from shared.access.rights import Scope
from shared.database.tables.base import Visibility
from shared.database.tables.datasets import DatasetName, Revision
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.errors import (
    ArtifactDamaged,
    DatasetInUse,
    DatasetNotFound,
    DatasetRefused,
    DiskFull,
    Fault,
    InvalidRequest,
    MalformedRequest,
    NameTaken,
    PictureNotFound,
    ProjectNotFound,
    QuotaExceeded,
    RequestTooLarge,
    UnsupportedContent,
)
from shared.jobs import quotas
from shared.spec.fields import PROJECT_TEXT, ModelName, ProjectName
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from shared.version import VERSION

bp = APIBlueprint("datasets", __name__, url_prefix="/api/v1/datasets", abp_tags=[Tag(name="Data sets")])
MAX_COLUMNS_CHARACTERS = 20_000
UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["name", "file"],
                "properties": {
                    "name": {"type": "string", "description": "Lower-case letters, digits, `.`, `_` and `-`."},
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": (
                            "A CSV, a parquet file, a zip of `class/image` folders or of `class/text.txt`, a zip of "
                            "images with a CSV of their labels, or an npz with `x` and `y`."
                        ),
                    },
                    "task": {
                        "type": "string",
                        "enum": list(Task),
                        "description": "For a CSV: the meaning of integer labels. Default: the loss decides.",
                    },
                    "label": {
                        "type": "string",
                        "description": "For a CSV: the label column, by name or position from 0. Default: the last.",
                    },
                    "header": {
                        "type": "boolean",
                        "description": "For a CSV: whether the first row contains names. Default: detected.",
                    },
                    "leave_out": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "For a CSV: columns that are no inputs. Repeat the field for each column.",
                    },
                    "columns": {
                        "type": "string",
                        "description": (
                            "For a CSV: how columns become numbers, as JSON or YAML. `one-hot` makes a number of 0 or "
                            "1 for each category; `fill` is in place of a missing value: `median`, `mean`, "
                            "`most-frequent` or a value. Predictions take the same raw rows."
                        ),
                        "examples": ['{"sex": "one-hot", "age": {"fill": "median"}}'],
                    },
                    "weight": {
                        "type": "string",
                        "description": "For a CSV: the column with the weight of each row in the loss. Default: none.",
                    },
                    "text": {
                        "type": "string",
                        "description": (
                            "For a CSV: the column with texts, by name or position from 0, which is then the only "
                            "input. Default: detected."
                        ),
                    },
                    "encoding": ENCODING_FIELD,
                    "project": {"type": "string", "description": PROJECT_TEXT},
                    "visibility": {
                        "type": "string",
                        "enum": list(Visibility),
                        "description": "Who sees the data set. Default: `project`, or as it is.",
                    },
                },
            }
        }
    },
}


def _check_not_builtin(name: str) -> str:
    if name in BUILTIN_DATASETS:
        raise ValueError(f"{name} is a built-in data set. Choose another name.")
    return name


def _parse_columns(text: object) -> object:
    """Parse the options of columns from JSON or YAML. Raises InvalidRequest."""
    if not isinstance(text, str):
        return text
    if len(text) > MAX_COLUMNS_CHARACTERS:
        detail = f"The text has {len(text):,} characters; the limit is {MAX_COLUMNS_CHARACTERS:,}."
        raise InvalidRequest("The request is invalid.", (Fault("#/columns", detail),))
    try:
        return parse_document(text.encode(), is_yaml=True)
    except (MalformedRequest, InvalidRequest) as error:
        faults = error.faults or (Fault("#", error.detail),)
        raise InvalidRequest(
            "The options of columns cannot be read.",
            tuple(Fault(f"#/columns{fault.pointer.removeprefix('#')}", fault.detail) for fault in faults),
        ) from None


class UploadForm(BaseModel):
    """The fields of the form, except `file`. None means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName
    task: Task | None = None
    label: Annotated[str, Field(max_length=1000)] | None = None
    header: bool | None = None
    leave_out: tuple[Annotated[str, Field(max_length=1000)], ...] = ()
    columns: Annotated[dict[str, ColumnOptions], Field(max_length=1000)] = {}
    weight: Annotated[str, Field(max_length=1000)] | None = None
    text: Annotated[str, Field(max_length=1000)] | None = None
    encoding: Annotated[str, Field(max_length=40)] | None = None
    project: ProjectName | None = None
    visibility: Visibility | None = None

    _own_name = field_validator("name")(_check_not_builtin)


class DatasetEdit(BaseModel):
    """The changes of a data set. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    visibility: Visibility | None = None
    project: ProjectName | None = Field(
        default=None, description="Only for an admin: move the data set to another project."
    )


class DeletionQuery(BaseModel):
    versions: Literal["keep"] | None = Field(
        default=None, description="`keep`: delete the data although versions were trained on it."
    )


@bp.post(
    "",
    responses={
        201: RevisionDocument,
        200: RevisionDocument,
        **describe_problems(
            DatasetRefused,
            DiskFull,
            NameTaken,
            QuotaExceeded,
            RequestTooLarge,
            UnsupportedContent,
            MalformedRequest,
        ),
    },
    openapi_extensions={"requestBody": UPLOAD},
)
@needs(Scope.TRAIN)
@parse_request
def upload_dataset() -> Response:
    """Upload a data set.

    The file becomes a new revision of the data set `name`.
    If a revision has the same content already, the response is that revision, with status 200.
    """
    allow_upload(services().ingestor.limits.bytes, services().disk)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedContent(
            f"The Content-Type is {request.mimetype or 'missing'!r}. Send multipart/form-data with `name` and `file`."
        )
    fields = read_form("leave_out")
    if "columns" in fields:
        fields["columns"] = _parse_columns(fields["columns"])
    form = validate(UploadForm, fields)
    file = get_uploaded_file()
    options = TableOptions(**form.model_dump(exclude={"name", "project", "visibility"}))
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        ingested = services().ingestor.ingest_dataset(file, options, Path(folder))
        digest, owner = ingested.digest(), services().owners.get_current()

        def add(stored: list[StoredFile]) -> tuple[Revision, bool]:
            with services().sessions.begin() as session:
                objects.claim_dataset(session, form.name, form.project)
                creator, project = revisions.find_creator(session, form.name)
                quotas.check_upload(session, creator or owner, project, sum(file.size_bytes for file in stored))
                added = revisions.add_revision(session, form.name, digest, ingested.info, _describe(ingested), stored)
                if form.visibility is not None:
                    _change(session, revisions.get_dataset(session, form.name), form.visibility, None)
                return added

        revision, is_new = tracked_files.store_and_reference(
            services().sessions, services().artifacts, ingested.files, add
        )
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    location = url_for("datasets.show_dataset", name=f"{revision.dataset}@{revision.number}")
    return to_response(format_revision(revision), status, {"Location": location})


@bp.get("", responses={200: DatasetList, **describe_problems()})
@needs(Scope.READ)
@parse_request
def list_datasets(query: ProjectQuery) -> Response:
    """List the data sets, uploaded and built-in, ordered by name. Built-in ones belong to no project."""
    page = parse_page(query.limit, query.cursor, TEXT_KEY)
    after = str(page.after[0]) if page.after is not None else ""
    with services().sessions() as session:
        uploaded = {found.name: found for found in revisions.list_datasets(session, page, query.project)}
        builtin = [name for name in BUILTIN_DATASETS if name > after and query.project is None]
        names = sorted([*uploaded, *builtin])[: page.limit]
        documents = [
            format_builtin(name)
            if name in BUILTIN_DATASETS
            else format_dataset(uploaded[name], revisions.list_revisions(session, name))
            for name in names
        ]
    return to_response(DatasetList(datasets=documents, next=make_next_cursor(page, [(name,) for name in names])))


@bp.get("/<name>", responses={200: DatasetDocument, **describe_problems(DatasetNotFound)})
@needs(Scope.READ)
@parse_request
def show_dataset(path: DatasetPath) -> Response:
    """Show a data set.

    `name` returns all revisions, the newest first; `name@revision` returns one.
    """
    if path.name in BUILTIN_DATASETS:
        return to_response(format_builtin(path.name))
    with services().sessions() as session:
        if "@" in path.name:
            found = [revisions.get_revision(session, path.name)]
        else:
            found = revisions.list_revisions(session, path.name)
        document = format_dataset(revisions.get_dataset(session, found[0].dataset), found)
    return to_response(document)


@bp.patch(
    "/<name>",
    responses={
        200: DatasetDocument,
        **describe_problems(DatasetNotFound, DatasetInUse, ProjectNotFound, MalformedRequest),
    },
)
@needs(Scope.TRAIN)
@parse_request
def edit_dataset(path: DatasetPath, body: DatasetEdit) -> Response:
    """Change who sees an uploaded data set, or move it to another project.

    Who uploaded it first may do the former, and the maintainers of its project.
    """
    if path.name in BUILTIN_DATASETS:
        raise DatasetInUse(f"{path.name!r} is a built-in data set, which everybody sees.")
    with services().sessions.begin() as session:
        dataset = revisions.get_dataset(session, path.name)
        if dataset.created_by != get_caller().login or not get_caller().may(Scope.TRAIN, dataset.project):
            objects.check_dataset(session, path.name)
        _change(session, dataset, body.visibility, body.project)
        document = format_dataset(dataset, revisions.list_revisions(session, path.name))
    return to_response(document)


def _change(session: Session, dataset: DatasetName, visibility: Visibility | None, project: str | None) -> None:
    """Change who sees a data set, and its project; None leaves it. Raises NotAllowed or ProjectNotFound."""
    before = {"visibility": dataset.visibility, "project": dataset.project}
    dataset.visibility = visibility or dataset.visibility
    if project is not None:
        dataset.project = objects.choose_new_project(session, project)
    after = {"visibility": dataset.visibility, "project": dataset.project}
    if before != after:
        objects.record(session, "dataset-edited", "dataset", dataset.name, before, after)
    session.flush()


@bp.delete("/<name>", responses={204: None, **describe_problems(DatasetNotFound, DatasetInUse)})
@needs(Scope.MANAGE)
@parse_request
def delete_dataset(path: DatasetPath, query: DeletionQuery) -> Response:
    """Delete an uploaded data set.

    `name` deletes all revisions; `name@revision` deletes one. No later revision gets its number.
    Data that a job reads cannot be deleted before the job has ended (status 409).
    Data on which a version was trained is deleted only with `versions=keep`: the version stays, and cannot be
    reproduced.
    """
    if path.name in BUILTIN_DATASETS:
        raise DatasetInUse(f"{path.name!r} is a built-in data set, which cannot be deleted.")
    with services().sessions.begin() as session:
        objects.check_dataset(session, path.name)
        chosen = revisions.list_for_deletion(session, path.name)
        if query.versions is None:
            revisions.check_not_trained_on(session, chosen)
        digests = revisions.delete_revisions(session, chosen)
        objects.record(session, "dataset-deleted", "dataset", path.name)
    for digest in digests:
        tracked_files.delete_unreferenced(services().sessions, services().artifacts, digest)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get(
    "/<name>/preview.<picture_format>",
    responses={200: PICTURE, **describe_problems(DatasetNotFound, PictureNotFound, ArtifactDamaged)},
)
@needs(Scope.READ)
@parse_request
def draw_preview(path: PreviewPath, query: PictureQuery) -> Response:
    """Draw a preview of a data set.

    For images: some images of each class, for at most 8 classes.
    For a table: the histograms of the first 16 columns. For texts: those of their numbers of words and characters.
    """
    if path.name in BUILTIN_DATASETS:
        return make_picture_response(
            services().pictures,
            path.picture_format,
            query,
            ("preview", path.name, VERSION),
            lambda: make_builtin_preview(path.name, services().decoder),
        )
    with services().sessions() as session:
        revision = revisions.get_revision(session, path.name)
    reference = f"{revision.dataset}@{revision.number}"
    content = ("preview", reference, revision.digest)
    return make_picture_response(
        services().pictures,
        path.picture_format,
        query,
        content,
        lambda: make_preview(reference, revision, services().artifacts, services().decoder),
    )


def _describe(ingested: ParsedDataset) -> dict[str, Any]:
    return {
        "columns": ingested.columns,
        "label": ingested.label,
        "ignored": ingested.ignored[:100],
        "warnings": ingested.warnings,
    }
