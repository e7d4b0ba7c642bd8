"""Show the data sets, one of them, and the form by which one is uploaded."""

from functools import partial
from typing import Any

from flask import Response, request, url_for

from api.charts.kinds import PictureFormat
from api.charts.scatter import list_numeric_columns
from api.documents.datasets import DatasetDocument, RevisionDocument, format_builtin, format_dataset
from api.http.pagination import NUMBER_KEY, TEXT_KEY, make_next_cursor, parse_page
from api.services import services
from api.web.pages.project_filter import list_projects, list_trainable, read_project
from api.web.rendering import choose_theme, render
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.registry.manifest import Part

PAGE_LENGTH = 50
MAX_CLASSES = 200
MAX_COLUMNS = 30
MAX_TEXT_CHARACTERS = 500
ROWS_OF_IMAGES, ROWS_OF_TABLE = 48, 20
PARTS: tuple[Part, ...] = ("train", "validation", "test")


def show_datasets() -> Response:
    """Show a page of the data sets, uploaded and built-in, ordered by name."""
    page, project = parse_page(PAGE_LENGTH, request.args.get("cursor"), TEXT_KEY), read_project()
    with services().sessions() as session:
        projects = list_projects(session)
        found = revisions.list_datasets(session, page, project)
        uploaded = [format_dataset(one, revisions.list_revisions(session, one.name)) for one in found]
    cursor = make_next_cursor(page, [(one.name,) for one in found])
    return render(
        "data/datasets.html",
        "web.show_datasets",
        script="pages/times.js",
        uploaded=uploaded,
        builtin=[format_builtin(name) for name in sorted(BUILTIN_DATASETS)],
        projects=projects,
        project=project,
        next_page=url_for("web.show_datasets", cursor=cursor, project=project) if cursor else None,
    )


def show_dataset(name: str) -> Response:
    """Show a data set: its parts, its classes and a preview. Raises DatasetNotFound."""
    document = load_dataset(name)
    chosen = document.revisions[0]
    explorer = _explore(document)
    return render(
        "data/dataset.html",
        "web.show_datasets",
        script="pages/dataset.js",
        script_words=("dataset.script.",),
        dataset=document,
        chosen=chosen,
        rows_in_all=max(1, sum(_count_parts(chosen))),
        shown=chosen.classes[:MAX_CLASSES],
        **explorer,
        **_choose_axes(chosen, explorer["axes"]),
        others=_list_numbers(document.name) if not document.builtin else [],
        data={"reference": chosen.reference},
    )


def show_new_dataset() -> Response:
    """Show the form by which a data set is uploaded."""
    limits = services().ingestor.limits
    return render(
        "data/new_dataset.html",
        "web.show_datasets",
        script="pages/upload.js",
        script_words=("upload.script.",),
        limits=limits,
        projects=list_trainable(),
        data={"bytes": limits.bytes},
    )


def load_dataset(name: str) -> DatasetDocument:
    """Load a data set, the newest revision first; one revision for `name@number`. Raises DatasetNotFound."""
    if name in BUILTIN_DATASETS:
        return format_builtin(name)
    with services().sessions() as session:
        found = [revisions.get_revision(session, name)] if "@" in name else revisions.list_revisions(session, name)
        return format_dataset(revisions.get_dataset(session, found[0].dataset), found)


def _explore(document: DatasetDocument) -> dict[str, Any]:
    """Return a page of the rows that `?class=` and `?part=` choose. Raises InvalidRequest for a forged cursor."""
    chosen = document.revisions[0]
    if document.builtin:
        opened = services().datasets.open_builtin(document.name)
    else:
        with services().sessions() as session:
            opened = services().datasets.open_revision(revisions.get_revision(session, chosen.reference))
    label = request.args.get("class") or None
    part = next((one for one in PARTS if one == request.args.get("part")), None)
    length = ROWS_OF_IMAGES if chosen.kind == "images" else ROWS_OF_TABLE
    page = parse_page(length, request.args.get("cursor"), NUMBER_KEY)
    start = page.after[0] if page.after is not None else 0
    found = opened.find_rows(label, part)
    indices = found[start : start + length].tolist()
    end = start + len(indices)
    cursor = make_next_cursor(page, [(end,)] * len(indices)) if end < len(found) else None
    given: dict[str, Any] = {key: value for key, value in (("class", label), ("part", part)) if value}
    is_image = chosen.kind == "images"
    is_text = chosen.kind == "texts"
    is_table = chosen.kind == "numbers" and len(chosen.shape) == 1
    columns = chosen.list_columns() or ["text"]

    def read_cells(row: int) -> list[float | str]:
        if is_text:
            return [opened.get_text(row)[:MAX_TEXT_CHARACTERS]]
        return [] if is_image else opened.get_values(row)[:MAX_COLUMNS]

    return {
        "rows": [
            {
                "index": row,
                "label": opened.get_label(row),
                "image": url_for("dataset_rows.draw_dataset_row", name=chosen.reference, index=row) if is_image else "",
                "values": read_cells(row),
            }
            for row in indices
        ],
        "first": start + 1,
        "last": end,
        "total": len(found),
        "parts": [one for one, rows in zip(PARTS, _count_parts(chosen), strict=True) if rows],
        "part": part,
        "label": label,
        "columns": columns[:MAX_COLUMNS],
        "axes": list(list_numeric_columns(opened, columns, chosen.label or "label")) if is_table else [],
        "first_page": url_for("web.show_dataset", name=chosen.reference, **given),
        "next_page": url_for("web.show_dataset", name=chosen.reference, **given, cursor=cursor) if cursor else None,
    }


def _choose_axes(chosen: RevisionDocument, axes: list[str]) -> dict[str, Any]:
    """Return the columns that are chosen for the points of a plot, and the addresses of the picture."""
    given: dict[str, Any] = {axis: request.args[axis] for axis in ("x", "y", "z") if request.args.get(axis) in axes}
    theme: dict[str, Any] = {} if choose_theme() == "system" else {"theme": choose_theme()}
    address = partial(
        url_for, "dataset_rows.draw_scatter", name=chosen.reference, picture_format=PictureFormat.SVG, **theme
    )
    return {
        "chosen_axes": {"z": "", **dict(zip("xy", axes[:2], strict=False)), **given},
        "scatter": address(**given),
        "has_axes": bool(given),
    }


def _count_parts(chosen: RevisionDocument) -> tuple[int, int, int]:
    return chosen.train_rows, chosen.validation_rows, chosen.test_rows


def _list_numbers(name: str) -> list[int]:
    with services().sessions() as session:
        return [revision.number for revision in revisions.list_revisions(session, name)]
