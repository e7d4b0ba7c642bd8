"""Show the page on which a model is tried: by drawing, by a photo, or by a row of a table."""

from flask import Response, request, url_for

from api.services import services
from api.web.pages.version import load_version
from api.web.rendering import render
from shared.preprocessing.contract import ImageContract, NumbersContract, Polarity
from shared.registry import versions

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
        served = versions.get_served_version(session, model).number
        numbers = versions.list_numbers(session, model, MAX_VERSIONS)
    version = load_version(model, request.args.get("version") or str(served))
    if version.version not in numbers:
        numbers.append(version.version)
    contract = version.preprocessing
    is_image = isinstance(contract, ImageContract)
    columns = [] if isinstance(contract, ImageContract) else _list_columns(version.columns, contract)
    return render(
        "models/try.html",
        "web.show_models",
        script="pages/try.js",
        script_words=("try.script.",),
        version=version,
        numbers=numbers,
        served=served,
        is_image=is_image,
        columns=columns,
        defaults=_choose_defaults(contract, len(columns)) if isinstance(contract, NumbersContract) else [],
        pen=max(PEN, round(PAD_SIDE / min(contract.size))) if isinstance(contract, ImageContract) else PEN,
        samples=_list_samples(model, version.version),
        data={
            "model": model,
            "version": version.version,
            "isImage": is_image,
            "columns": [name for name, _ in columns],
            "decimal": contract.decimal if isinstance(contract, NumbersContract) else ".",
            "isLight": isinstance(contract, ImageContract) and contract.ground is Polarity.LIGHT,
            "imageBytes": services().decoder.limits.max_bytes,
        },
    )


def _list_columns(names: list[str], contract: NumbersContract) -> list[tuple[str, tuple[str, ...]]]:
    """Return the name of each column of a row, and its categories or words, if it has any."""
    if contract.columns:
        return [
            (encoding.name or f"column {index}", encoding.categories or encoding.words)
            for index, encoding in enumerate(contract.columns)
        ]
    width = contract.shape[0] if len(contract.shape) == 1 else 0
    return [(name, ()) for name in names or [f"column {index}" for index in range(width)]]


def _choose_defaults(contract: NumbersContract, count: int) -> list[str]:
    """Return the number that each column of a form begins with: its mean in the training data, if it is known."""
    means = contract.normalisation.offset if not contract.columns else ()
    return [f"{mean:.3g}" for mean in means] if len(means) == count else ["0"] * count


def _list_samples(model: str, number: int) -> list[str]:
    """Return the addresses of some test images; empty if the version keeps none."""
    stored = services().get_version(model, str(number))
    kept = sorted(services().list_kept_images(stored))[:MAX_SAMPLES]
    return [url_for("evaluations.draw_test_image", model=model, reference=str(number), index=index) for index in kept]
