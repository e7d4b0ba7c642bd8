"""From inputs to answers: preprocess, run together, name the classes. One bad input does not spoil the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.metrics import Metrics
from api.problems import problem_of
from api.serving.gate import Gate
from api.serving.inputs import Input, Row, row_of
from api.serving.version import LoadedVersion
from shared.errors import ServiceError
from shared.preprocessing import ImageLimits

Answer = dict[str, Any]
"""A Prediction, NumericPrediction or FailedPrediction of shared/documents.py. Made by hand: pydantic would take longer
over it than the network.
"""


@dataclass(frozen=True)
class Outputs:
    """`values` is (n, outputs) float32, what the network answered to the inputs that could be read, in their order;
    `read` has for each input, in the order they came, its warnings or why it could not be read.
    """

    values: NDArray[np.float32]
    read: list[list[str] | ServiceError]


class Predictor:
    """What every protocol calls."""

    def __init__(self, limits: ImageLimits, gate: Gate, metrics: Metrics) -> None:
        self._limits = limits
        self._gate = gate
        self._metrics = metrics

    def outputs(self, loaded: LoadedVersion, inputs: Sequence[Input | ServiceError]) -> Outputs:
        """Raises Overloaded, or the input's error where none of them can be read."""
        began = perf_counter()
        with self._gate:
            entered = perf_counter()
            rows, read = self._rows(loaded, inputs)
            prepared = perf_counter()
            values = loaded.run(np.stack([row.values for row in rows]))
            answered = perf_counter()
        self._metrics.prepared.observe(prepared - entered)
        self._metrics.waited.observe(entered - began)
        self._metrics.inferred.observe(answered - prepared)
        self._metrics.batch.observe(len(inputs))
        loaded.statistics.count(len(rows), answered - prepared)
        return Outputs(values, read)

    def run(self, loaded: LoadedVersion, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, …) as the network takes them → (n, outputs). Raises Overloaded."""
        began = perf_counter()
        with self._gate:
            entered = perf_counter()
            values = loaded.run(rows)
            answered = perf_counter()
        self._metrics.waited.observe(entered - began)
        self._metrics.inferred.observe(answered - entered)
        self._metrics.batch.observe(len(rows))
        loaded.statistics.count(len(rows), answered - entered)
        return values

    def _rows(
        self, loaded: LoadedVersion, inputs: Sequence[Input | ServiceError]
    ) -> tuple[list[Row], list[list[str] | ServiceError]]:
        rows: list[Row] = []
        read: list[list[str] | ServiceError] = []
        error: ServiceError | None = None
        for given in inputs:
            try:
                row = self._row(loaded, given)
            except ServiceError as found:
                error = error or found
                read.append(found)
            else:
                rows.append(row)
                read.append(row.warnings)
        if not rows:
            assert error is not None  # noqa: S101 - there is one input at the least
            raise error
        return rows, read

    def _row(self, loaded: LoadedVersion, given: Input | ServiceError) -> Row:
        if isinstance(given, ServiceError):
            raise given
        return row_of(given, loaded.description.preprocessing, self._limits)


def answers_of(outputs: Outputs, classes: tuple[str, ...], top: int) -> list[Answer]:
    """An answer for each input, in their order."""
    values = iter(outputs.values)
    return [
        {"problem": problem_of(found).model_dump()}
        if isinstance(found, ServiceError)
        else _answer(next(values), found, classes, top)
        for found in outputs.read
    ]


def _answer(outputs: NDArray[np.float32], warnings: list[str], classes: tuple[str, ...], top: int) -> Answer:
    if not classes:
        values = list(outputs)
        return {"value": values[0] if len(values) == 1 else values, "warnings": warnings}
    probabilities = np.array([1 - outputs[0], outputs[0]], np.float32) if len(outputs) == 1 else outputs
    best = [int(probabilities.argmax())] if top == 1 else np.argsort(-probabilities, kind="stable")[:top].tolist()
    ranked = [{"label": classes[place], "class": place, "probability": probabilities[place]} for place in best]
    return {**ranked[0], "top": ranked, "warnings": warnings}
