"""Show the page on which a model is tried: by drawing, by a photo, or by a row of a table."""

from flask import Response, request

from api.documents.evaluations import EvaluationRow, describe_rows
from api.documents.registry import VersionDocument
from api.services import services
from api.web.pages.version import list_input_columns, load_version, make_example
from api.web.rendering import render
from shared.preprocessing.contract import ImageContract, NumbersContract, Polarity
from shared.registry import versions
from shared.registry.evaluation import ANSWERS_FILE, TestPredictions, read_evaluation_file

MAX_VERSIONS = 50
MAX_SAMPLES = 24
PAD_SIDE = 336
PEN = 26
"""The pad and its pen, in pixels: as thick as the strokes of MNIST, and at least a pixel of the network's input."""


def show_try(model: str) -> Response:
    """Show the page for a model, with the version of `?version=`, else the one that it serves.

    Raises ModelNotFound, or VersionNotFound.
    """
    with services().sessions() as session:
        versions.get_model(session, model)
        served = versions.get_number(versions.get_served_version(session, model))
        numbers = versions.list_numbers(session, model, MAX_VERSIONS)
    version = load_version(model, request.args.get("version") or str(served))
    if version.version is not None and version.version not in numbers:
        numbers.append(version.version)
    contract = version.preprocessing
    is_image, is_text = isinstance(contract, ImageContract), contract.kind == "texts"
    columns = list_input_columns(version)
    samples, row = _list_test_rows(version, request.args.get("row", type=int))
    defaults: list[str] = []
    if isinstance(contract, NumbersContract):
        defaults = _choose_defaults(contract, row or next(iter(samples), None), len(columns))
    return render(
        "models/try.html",
        "web.show_models",
        script="pages/try.js",
        script_words=("try.script.",),
        version=version,
        numbers=numbers,
        served=served,
        is_image=is_image,
        is_text=is_text,
        columns=columns,
        example=make_example(version),
        defaults=defaults,
        pen=max(PEN, round(PAD_SIDE / min(contract.size))) if isinstance(contract, ImageContract) else PEN,
        samples=samples,
        row=row,
        data={
            "model": model,
            "version": version.version,
            "isImage": is_image,
            "isText": is_text,
            "columns": [name for name, _ in columns],
            "decimal": contract.decimal if isinstance(contract, NumbersContract) else ".",
            "isLight": isinstance(contract, ImageContract) and contract.ground is Polarity.LIGHT,
            "imageBytes": services().decoder.limits.max_bytes,
            "image": row.image if row is not None else None,
            "hasRow": row is not None,
        },
    )


def _choose_defaults(contract: NumbersContract, row: EvaluationRow | None, count: int) -> list[str]:
    """Return what each column of the form begins with: the cells of a test row, else the means of the training."""
    if row is not None and row.values is not None:
        return [cell if isinstance(cell, str) else f"{cell:.15g}" for cell in row.values]
    means = contract.normalisation.offset if not contract.columns else ()
    return [f"{mean:.3g}" for mean in means] if len(means) == count else ["0"] * count


def _list_test_rows(version: VersionDocument, chosen: int | None) -> tuple[list[EvaluationRow], EvaluationRow | None]:
    """Return the first test rows that the version keeps, and the chosen one, None if it is not kept."""
    stored = services().get_version(version.model, str(version.version))
    kept = services().read_kept_rows(stored)
    indices = kept.list_rows()
    if not indices:
        return [], None
    answers = TestPredictions.from_bytes(read_evaluation_file(services().artifacts, stored, ANSWERS_FILE))
    samples = describe_rows(stored, answers, kept, indices[:MAX_SAMPLES])
    if chosen is None or chosen not in indices:
        return samples, None
    return samples, describe_rows(stored, answers, kept, [chosen])[0]
