"""Data sets that users bring."""

import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.charts.dataset_preview import preview_of
from api.charts.response import PICTURE, PictureQuery, answer_picture
from api.documents.datasets import ClassRows, DatasetDocument, DatasetList, RevisionDocument
from api.http.pagination import PageQuery, next_cursor, page_of
from api.http.paths import DatasetPath, PreviewPath
from api.http.requests import parsed, validated
from api.http.responses import document, problems
from api.http.uploads import allow_upload, uploaded_file
from api.ingestion.dataset_upload import ingest
from api.ingestion.result import Ingested, TableOptions
from api.ingestion.targets import Task
from api.services import services
from shared.database.tables.datasets import Revision
from shared.datasets import revisions
from shared.datasets.builtin import BUILT_IN
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    DatasetRefused,
    MalformedRequest,
    PictureNotFound,
    RequestTooLarge,
    UnsupportedContent,
)
from shared.spec.fields import ModelName
from shared.storage import tracked_files

bp = APIBlueprint("datasets", __name__, url_prefix="/api/v1/datasets", abp_tags=[Tag(name="Data sets")])
UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["name", "file"],
                "properties": {
                    "name": {"type": "string", "description": "Lower case letters, digits, `.`, `_` and `-`"},
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "A CSV, a zip of `class/image` folders, or an npz with x and y",
                    },
                    "task": {
                        "type": "string",
                        "enum": list(Task),
                        "description": "Of a CSV; the loss decides if not said",
                    },
                    "label": {
                        "type": "string",
                        "description": "Of a CSV: the column's name, or its position from 0; the last if not said",
                    },
                    "header": {"type": "boolean", "description": "Of a CSV; told apart by itself if not said"},
                    "leave_out": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Columns of a CSV, by name or position; repeat the field for each",
                    },
                },
            }
        }
    },
}


def _not_built_in(name: str) -> str:
    if name in BUILT_IN:
        raise ValueError(f"{name} is built in: take another name.")
    return name


class UploadForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName
    task: Task | None = None
    label: Annotated[str, Field(max_length=1000)] | None = None
    header: bool | None = None
    leave_out: tuple[Annotated[str, Field(max_length=1000)], ...] = ()

    _own_name = field_validator("name")(_not_built_in)


@bp.post(
    "",
    responses={
        201: RevisionDocument,
        200: RevisionDocument,
        **problems(DatasetRefused, RequestTooLarge, UnsupportedContent, MalformedRequest),
    },
    openapi_extensions={"requestBody": UPLOAD},
)
@parsed
def upload_dataset() -> Response:
    """A new revision; the same content again answers the one that is there."""
    allow_upload(services().upload_limits.bytes)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedContent(
            f"The Content-Type is {request.mimetype or 'missing'!r}: send multipart/form-data with `name` and `file`."
        )
    given: dict[str, object] = {key: value for key, value in request.form.items() if key != "leave_out"}
    form = validated(UploadForm, {**given, "leave_out": request.form.getlist("leave_out")})
    file = uploaded_file()
    options = TableOptions(**form.model_dump(exclude={"name"}))
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        ingested = ingest(file, options, services().upload_limits, Path(folder))
        digest = ingested.digest()
        stored = tracked_files.keep(services().sessions, services().artifacts, ingested.files)
    with services().sessions.begin() as session:
        revision, is_new = revisions.add_revision(
            session, form.name, digest, ingested.facts, _description(ingested), stored
        )
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    location = url_for("datasets.show_dataset", name=f"{revision.dataset}@{revision.number}")
    return document(_revision_document(revision), status, {"Location": location})


@bp.get("", responses={200: DatasetList, **problems()})
@parsed
def list_datasets(query: PageQuery) -> Response:
    """Those that users brought, by name; the catalog has those that are built in."""
    page = page_of(query.limit, query.cursor, (str,))
    with services().sessions() as session:
        names = [found.name for found in revisions.find_names(session, page)]
        documents = [_dataset_document(name, revisions.find_revisions(session, name)) for name in names]
    return document(DatasetList(datasets=documents, next=next_cursor(page, [(name,) for name in names])))


@bp.get("/<name>", responses={200: DatasetDocument, **problems(DatasetNotFound)})
@parsed
def show_dataset(path: DatasetPath) -> Response:
    """Every revision, the newest first, or the one that is asked for."""
    with services().sessions() as session:
        if "@" in path.name:
            found = [revisions.get_revision(session, path.name)]
        else:
            found = revisions.find_revisions(session, path.name)
    return document(_dataset_document(found[0].dataset, found))


@bp.get(
    "/<name>/preview.<picture_format>",
    responses={200: PICTURE, **problems(DatasetNotFound, PictureNotFound, ArtifactDamaged)},
)
@parsed
def draw_preview(path: PreviewPath, query: PictureQuery) -> Response:
    """Some images of each class, or how the values of each column are spread."""
    with services().sessions() as session:
        revision = revisions.get_revision(session, path.name)
    reference = f"{revision.dataset}@{revision.number}"
    content = ("preview", reference, revision.digest)
    return answer_picture(
        services().pictures,
        path.picture_format,
        query,
        content,
        lambda: preview_of(reference, revision, services().artifacts),
    )


def _dataset_document(name: str, revisions: list[Revision]) -> DatasetDocument:
    return DatasetDocument(name=name, revisions=[_revision_document(revision) for revision in revisions])


def _description(ingested: Ingested) -> dict[str, Any]:
    return {"columns": ingested.columns, "label": ingested.label, "ignored": ingested.ignored[:100]}


def _revision_document(revision: Revision) -> RevisionDocument:
    facts = revisions.facts_of_revision(revision)
    rows = zip(facts.classes, facts.class_rows, strict=True)
    return RevisionDocument(
        name=revision.dataset,
        revision=revision.number,
        reference=f"{revision.dataset}@{revision.number}",
        kind="images" if facts.images else "numbers",
        targets=facts.targets,
        shape=facts.shape if 0 not in facts.shape else (None, None, facts.shape[-1]),
        train_rows=facts.train_rows,
        test_rows=facts.test_rows,
        classes=[ClassRows(label=label, train_rows=train, test_rows=test) for label, (train, test) in rows],
        columns=revision.description["columns"],
        label=revision.description["label"],
        ignored=revision.description["ignored"],
        digest=revision.digest,
        created_at=revision.created_at,
    )
