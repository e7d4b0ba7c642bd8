"""Show what losses, metrics and activations compute, and when to use them."""

from flask import Response, request

from api.planner.explanations import read_explanations
from api.web.rendering import render
from api.web.words import choose_language, load_translations

EXAMPLES = {
    "binary_crossentropy": ("[[1], [0], [0], [1]]", "[[0.8], [0.3], [0.5], [0.9]]"),
    "categorical_crossentropy": (
        "[[0, 1, 0], [0, 0, 1], [1, 0, 0]]",
        "[[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]]",
    ),
    "sparse_categorical_crossentropy": ("[1, 2, 0]", "[[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]]"),
}
DEFAULT = "binary_crossentropy"


def show_functions() -> Response:
    """Show the losses, the metrics and the activations. `?loss=` chooses the loss in the form."""
    chosen = request.args.get("loss", "")
    loss = chosen if chosen in read_explanations("losses") else DEFAULT
    return render(
        "functions.html",
        script="pages/functions.js",
        script_words=("functions.script.",),
        loss=loss,
        example=EXAMPLES.get(loss, EXAMPLES[DEFAULT]),
        losses=_describe("losses"),
        metrics=_describe("metrics"),
        activations=_describe("activations"),
    )


def _describe(kind: str) -> list[tuple[str, str, str]]:
    """Return the name, the formula and the use of each of them, in the language of the request."""
    translations = load_translations("functions", choose_language())
    return [
        (name, one.formula, translations.get(f"{kind}.{name}", one.use))
        for name, one in read_explanations(kind).items()
    ]
