"""Show a version: its numbers, where it comes from, its files, and how to call it."""

from flask import Response, request, url_for

from api.documents.registry import VersionDocument, format_version
from api.services import services
from api.web.rendering import render
from shared.preprocessing.contract import ImageContract
from shared.registry import aliases, versions
from shared.registry.evaluation import EVALUATION_FILE

MAX_SHOWN_CLASSES = 60


def load_version(model: str, reference: str) -> VersionDocument:
    """Load the document of a version, with its files. Raises ModelNotFound or VersionNotFound."""
    with services().sessions() as session:
        version = versions.get_described_version(session, model, reference)
        numbers = aliases.list_aliases(session, model)
    files = [
        {
            "name": file.name,
            "size": file.size_bytes,
            "sha256": file.sha256,
            "href": url_for("models.download_file", model=model, reference=version.number, file=file.name),
        }
        for file in version.files
    ]
    return VersionDocument.model_validate({**format_version(version, numbers, version.manifest), "files": files})


def show_version(model: str, number: int) -> Response:
    """Show a version. Raises ModelNotFound or VersionNotFound."""
    version = load_version(model, str(number))
    return render(
        "models/version.html",
        "web.show_models",
        script="pages/version.js",
        script_words=("version.script.",),
        version=version,
        headline=version.metrics.choose_headline(),
        has_evaluation=any(file.name == EVALUATION_FILE for file in version.files),
        is_image=isinstance(version.preprocessing, ImageContract),
        shown_classes=(version.classes or version.labels)[:MAX_SHOWN_CLASSES],
        example=_make_example(version),
        base=request.url_root.rstrip("/"),
        data={"model": model, "number": number},
    )


def _make_example(version: VersionDocument) -> str:
    """Return the arguments of `curl` that send an input to the version."""
    if isinstance(version.preprocessing, ImageContract):
        return "-F image=@photo.png"
    width = version.signature.inputs[0].shape[-1]
    cells: list[object] = [0.0] * width
    for place, encoding in enumerate(version.preprocessing.columns):
        if encoding.categories:
            cells[place : place + 1] = [encoding.categories[0]]
    cells = cells[: len(version.preprocessing.columns) or width]
    listed = ", ".join(f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in cells)
    return f"-H 'Content-Type: application/json' -d '{{\"instances\": [[{listed}]]}}'"
