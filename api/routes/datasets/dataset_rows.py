"""List the rows of data sets, and show their images."""

from typing import Annotated

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.charts import drawings
from api.charts.dataset_rows import OpenDataset
from api.charts.kinds import Drawing
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.charts.scatter import select_points
from api.documents.datasets import (
    DatasetRow,
    DatasetRowDetail,
    DatasetRowList,
    RevisionDocument,
    format_builtin,
    format_revision,
)
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.paths import DatasetPath, PreviewPath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.database.pagination import Key
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.errors import (
    ArtifactDamaged,
    DatasetNotFound,
    Fault,
    FileNotFound,
    ImageTooLarge,
    InvalidImage,
    InvalidRequest,
    PictureNotFound,
)
from shared.preprocessing.contract import KIND_NAMES
from shared.registry.manifest import Part
from shared.version import VERSION

TILE_SIDE = 96
MAX_PIXEL_NUMBERS = 100_000
MAX_TEXT_CHARACTERS = 1000
"""The most characters of a text in a list."""

bp = APIBlueprint("dataset_rows", __name__, url_prefix="/api/v1/datasets", abp_tags=[Tag(name="Data sets")])


class RowsQuery(PageQuery):
    class_: str | None = Field(default=None, alias="class", description="Only rows of this class.", max_length=200)
    part: Part | None = Field(default=None, description="Only rows of this part.")


class ScatterQuery(PictureQuery):
    x: str | None = Field(
        default=None, description="A column of numbers, or the label if it is one. Default: the first.", max_length=1000
    )
    y: str | None = Field(default=None, description="Another one.", max_length=1000)
    z: str | None = Field(default=None, description="A third one, for points in space.", max_length=1000)


class RowPath(DatasetPath):
    index: Annotated[int, Field(ge=0, lt=2**31)]


class RowPictureQuery(BaseModel):
    side: int = Field(default=TILE_SIDE, ge=8, le=512, description="The longer side in pixels.")


@bp.get("/<name>/rows", responses={200: DatasetRowList, **describe_problems(DatasetNotFound, ArtifactDamaged)})
@needs(Scope.READ)
@parse_request
def list_dataset_rows(path: DatasetPath, query: RowsQuery) -> Response:
    """List the rows of a data set.

    A row of images has the path of its picture, and a row of a table its cells.
    Of a long text, the first 1,000 characters are listed.
    Of built-in images, the first 40 training rows are listed, further ones up to 6 of each class, and the first 16 test
    rows.
    """
    document, opened = _open(path.name)
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    if query.class_ is not None and opened.info.classes and query.class_ not in opened.info.classes:
        detail = f"Unknown class {query.class_!r}. The classes are {', '.join(opened.info.classes[:100])}."
        raise InvalidRequest("The request is invalid.", (Fault("#/class", detail, "query"),))
    chosen = opened.find_rows(query.class_, query.part)
    start = page.after[0] if page.after is not None else 0
    rows = [_describe_row(document.reference, opened, row) for row in chosen[start : start + page.limit].tolist()]
    keys: list[Key] = [(start + offset,) for offset in range(1, len(rows) + 1)]
    return to_response(DatasetRowList(rows=rows, total=len(chosen), next=make_next_cursor(page, keys)))


@bp.get(
    "/<name>/rows/<int:index>",
    responses={
        200: DatasetRowDetail,
        **describe_problems(DatasetNotFound, FileNotFound, ArtifactDamaged, InvalidImage, ImageTooLarge),
    },
)
@needs(Scope.READ)
@parse_request
def show_dataset_row(path: RowPath) -> Response:
    """Show a row of a data set: its label, and its pixels, its cells or its text."""
    document, opened = _open(path.name)
    if path.index >= len(opened.y):
        raise FileNotFound(f"There is no row {path.index} in {document.reference!r}: it has {len(opened.y):,} rows.")
    pixels = opened.get_pixels(path.index, services().decoder) if opened.info.images else None
    row = _describe_row(document.reference, opened, path.index)
    return to_response(
        DatasetRowDetail(
            **{**row.model_dump(), "text": opened.get_text(path.index) if opened.info.texts else None},
            shape=list(pixels.shape if pixels is not None else opened.info.shape),
            pixels=pixels.tolist() if pixels is not None and pixels.size <= MAX_PIXEL_NUMBERS else None,
        )
    )


@bp.get(
    "/<name>/scatter.<picture_format>",
    responses={200: PICTURE, **describe_problems(DatasetNotFound, PictureNotFound, ArtifactDamaged)},
)
@needs(Scope.READ)
@parse_request
def draw_scatter(path: PreviewPath, query: ScatterQuery) -> Response:
    """Draw the rows of a table as points, by two or three of its columns.

    The points have the colour of their class, or of their label if it is a number.
    """
    document, opened = _open(path.name)
    reference = document.reference
    content = ("scatter", reference, document.digest, VERSION)
    columns = document.list_columns()

    def make() -> Drawing:
        points = select_points(opened, columns, document.label or "label", (query.x, query.y, query.z))
        shown = f" ({len(points.values):,} shown)" if len(points.values) < points.total else ""
        return drawings.draw_scatter(f"{reference}: {points.total:,} rows{shown}", points)

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


@bp.get(
    "/<name>/rows/<int:index>.png",
    responses={
        200: describe_bytes("image/png", "The image of the row; beside an image that is not square it is gray."),
        **describe_problems(DatasetNotFound, FileNotFound, ArtifactDamaged, InvalidImage, ImageTooLarge),
    },
)
@needs(Scope.READ)
@parse_request
def draw_dataset_row(path: RowPath, query: RowPictureQuery) -> Response:
    """Show the image of a row of a data set."""
    document, opened = _open(path.name)
    if not opened.info.images or path.index >= len(opened.y):
        what = f"{len(opened.y):,} images" if opened.info.images else f"{KIND_NAMES[opened.info.kind]} without images"
        raise FileNotFound(f"There is no image {path.index} in {document.reference!r}: it has {what}.")
    picture = opened.encode_image(path.index, query.side, services().decoder)
    is_fixed = "@" in path.name  # the number of a revision is never given again
    control = "public, max-age=31536000, immutable" if is_fixed else "no-cache"
    return Response(picture, content_type="image/png", headers={"Cache-Control": control})


def _describe_row(reference: str, opened: OpenDataset, row: int) -> DatasetRow:
    return DatasetRow(
        index=row,
        part=opened.get_part(row),
        label=opened.get_label(row),
        image=url_for(".draw_dataset_row", name=reference, index=row) if opened.info.images else None,
        values=opened.get_values(row) if opened.info.kind == "numbers" else None,
        text=opened.get_text(row)[:MAX_TEXT_CHARACTERS] if opened.info.texts else None,
    )


def _open(name: str) -> tuple[RevisionDocument, OpenDataset]:
    """Open a data set. Return the document of its revision, and its rows. Raises DatasetNotFound."""
    if name in BUILTIN_DATASETS:
        return format_builtin(name).revisions[0], services().datasets.open_builtin(name)
    with services().sessions() as session:
        revision = revisions.get_revision(session, name)
    return format_revision(revision), services().datasets.open_revision(revision)
