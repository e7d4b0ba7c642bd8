"""From inputs to answers: preprocess, run together, name the classes. One bad input does not spoil the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.problems import problem_of
from api.serving.inputs import Input, Row, row_of
from api.serving.version import LoadedVersion
from shared.errors import ServiceError
from shared.preprocessing import ImageLimits

Answer = dict[str, Any]
"""A Prediction, NumericPrediction or FailedPrediction of shared/documents.py. Made by hand: pydantic would take longer
over it than the network.
"""


def predict(
    loaded: LoadedVersion, inputs: Sequence[Input | ServiceError], limits: ImageLimits, top: int
) -> list[Answer]:
    """An answer for each input, in their order. Raises the input's error where all of them fail."""
    rows: list[Row] = []
    answers: list[Answer | None] = []
    errors: list[ServiceError] = []
    for given in inputs:
        try:
            rows.append(_row(given, loaded, limits))
            answers.append(None)
        except ServiceError as error:
            errors.append(error)
            answers.append({"problem": problem_of(error).model_dump()})
    if not rows:
        raise errors[0]
    outputs = loaded.run(np.stack([row.values for row in rows]))
    classes = loaded.description.classes
    answered = iter([_answer(values, row.warnings, classes, top) for values, row in zip(outputs, rows, strict=True)])
    return [answer or next(answered) for answer in answers]


def _row(given: Input | ServiceError, loaded: LoadedVersion, limits: ImageLimits) -> Row:
    if isinstance(given, ServiceError):
        raise given
    return row_of(given, loaded.description.preprocessing, limits)


def _answer(outputs: NDArray[np.float32], warnings: list[str], classes: tuple[str, ...], top: int) -> Answer:
    if not classes:
        values = list(outputs)
        return {"value": values[0] if len(values) == 1 else values, "warnings": warnings}
    probabilities = np.array([1 - outputs[0], outputs[0]], np.float32) if len(outputs) == 1 else outputs
    best = [int(probabilities.argmax())] if top == 1 else np.argsort(-probabilities, kind="stable")[:top].tolist()
    ranked = [{"label": classes[place], "class": place, "probability": probabilities[place]} for place in best]
    return {**ranked[0], "top": ranked, "warnings": warnings}
