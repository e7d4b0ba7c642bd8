"""Show the data sets, one of them, and the form by which one is uploaded."""

from flask import Response, request, url_for

from api.documents.datasets import DatasetDocument, format_builtin, format_dataset
from api.http.pagination import TEXT_KEY, make_next_cursor, parse_page
from api.services import services
from api.web.rendering import render
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS

PAGE_LENGTH = 50
MAX_CLASSES = 200


def show_datasets() -> Response:
    """Show a page of the data sets, uploaded and built-in, ordered by name."""
    page = parse_page(PAGE_LENGTH, request.args.get("cursor"), TEXT_KEY)
    with services().sessions() as session:
        names = [found.name for found in revisions.list_datasets(session, page)]
        uploaded = [format_dataset(name, revisions.list_revisions(session, name)) for name in names]
    cursor = make_next_cursor(page, [(name,) for name in names])
    return render(
        "datasets.html",
        "web.show_datasets",
        script="times.js",
        uploaded=uploaded,
        builtin=[format_builtin(name) for name in sorted(BUILTIN_DATASETS)],
        next_page=url_for("web.show_datasets", cursor=cursor) if cursor else None,
    )


def show_dataset(name: str) -> Response:
    """Show a data set: its parts, its classes and a preview. Raises DatasetNotFound."""
    document = _load_dataset(name)
    chosen = document.revisions[0]
    largest = max((one.train_rows + one.validation_rows + one.test_rows for one in chosen.classes), default=1)
    return render(
        "dataset.html",
        "web.show_datasets",
        script="dataset.js",
        script_words=("dataset.script.",),
        dataset=document,
        chosen=chosen,
        largest=max(largest, 1),
        shown=chosen.classes[:MAX_CLASSES],
        others=_list_numbers(document.name) if not document.builtin else [],
        data={"reference": chosen.reference},
    )


def show_new_dataset() -> Response:
    """Show the form by which a data set is uploaded."""
    limits = services().ingestor.limits
    return render(
        "new_dataset.html",
        "web.show_datasets",
        script="upload.js",
        script_words=("upload.script.",),
        limits=limits,
        data={"bytes": limits.bytes},
    )


def _load_dataset(name: str) -> DatasetDocument:
    """Load a data set, the newest revision first; one revision for `name@number`. Raises DatasetNotFound."""
    if name in BUILTIN_DATASETS:
        return format_builtin(name)
    with services().sessions() as session:
        found = [revisions.get_revision(session, name)] if "@" in name else revisions.list_revisions(session, name)
    return format_dataset(found[0].dataset, found)


def _list_numbers(name: str) -> list[int]:
    with services().sessions() as session:
        return [revision.number for revision in revisions.list_revisions(session, name)]
