"""Show a version: its numbers, where it comes from, its files, and how to call it."""

import json
import shlex

import numpy as np
from flask import Response, request, url_for

from api.documents.exports import list_exports
from api.documents.registry import VersionDocument, format_version
from api.services import services
from api.web.rendering import render
from shared.preprocessing.contract import ImageContract, NumbersContract
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


def list_input_columns(version: VersionDocument) -> list[tuple[str, tuple[str, ...]]]:
    """Return the name of each column of a row of numbers, and its categories or words, if it has any."""
    contract = version.preprocessing
    if not isinstance(contract, NumbersContract):
        return []
    if contract.columns:
        return [
            (encoding.name or f"column {index}", encoding.categories or encoding.words)
            for index, encoding in enumerate(contract.columns)
        ]
    width = contract.shape[0] if len(contract.shape) == 1 else 0
    return [(name, ()) for name in version.columns or [f"column {index}" for index in range(width)]]


def show_version(model: str, number: int) -> Response:
    """Show a version. Raises ModelNotFound or VersionNotFound."""
    version = load_version(model, str(number))
    with services().sessions() as session:
        exports = list_exports(session, versions.get_described_version(session, model, str(number))).exports
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
        example=make_example(version),
        exports=exports,
        data={"model": model, "number": number},
    )


def make_example(version: VersionDocument) -> str:
    """Return a command that sends an input to the version. Names of users are quoted for the shell."""
    address = f"{request.url_root}api/v1/models/{version.model}/versions/{version.version}/predictions"
    contract = version.preprocessing
    if isinstance(contract, ImageContract):
        return f"curl {shlex.quote(address)} -F image=@photo.png"
    row: object = "…"
    if isinstance(contract, NumbersContract):
        row = [(one.categories or (0.0,))[0] for one in contract.columns] or np.zeros(contract.shape).tolist()
    body = json.dumps({"instances": [row]}, ensure_ascii=False)
    return f"curl {shlex.quote(address)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
