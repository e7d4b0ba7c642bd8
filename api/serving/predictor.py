"""From inputs to answers: preprocess, run together, name the classes. One bad input does not spoil the others."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import orjson
from numpy.typing import NDArray

from api.http.problems import problem_of
from api.serving.batching import Turns
from api.serving.metrics import Metrics
from shared.errors import ServiceError
from shared.inference.inputs import ImageInput, Input, rows_of
from shared.inference.predictions import Answer, answer_of
from shared.inference.servable import LoadedVersion
from shared.preprocessing.decoding import ImageLimits
from shared.registry.manifest import Description

SMALL_BYTES = 16_000
"""An image of no more is decoded in a fraction of what the network takes."""


@dataclass(frozen=True)
class Outputs:
    """`values` is (n, outputs) float32, what the network answered to the inputs that could be read, in their order;
    `read` has for each input, in the order they came, its warnings or why it could not be read.
    """

    values: NDArray[np.float32]
    read: list[list[str] | ServiceError]


class _Work:
    """One request: `rows` are given, or made of `inputs` in its turn; then `values`, unless none could be read."""

    __slots__ = ("asked_at", "inputs", "is_quick", "kind", "loaded", "read", "rows", "values")

    def __init__(
        self,
        loaded: LoadedVersion,
        inputs: Sequence[Input | ServiceError],
        rows: NDArray[np.float32] | None = None,
    ) -> None:
        self.asked_at = perf_counter()
        self.loaded = loaded
        self.inputs = inputs
        self.rows = rows
        self.read: list[list[str] | ServiceError] = []
        self.values: NDArray[np.float32] | None = None
        gains_by_company = len(inputs) == 1 and loaded.is_faster_together  # what is many already does not
        self.is_quick = gains_by_company and not _takes_long_to_decode(inputs[0])
        self.kind: Hashable = (loaded, self.is_quick) if gains_by_company else self


def _takes_long_to_decode(given: Input | ServiceError) -> bool:
    return isinstance(given, ImageInput) and len(given.data) > SMALL_BYTES


class Predictor:
    """What every protocol calls. So many requests compute at a time, and so many more may wait for it."""

    def __init__(self, limits: ImageLimits, at_once: int, waiting: int, seconds: float, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._turns: Turns[_Work] = Turns(at_once, waiting, seconds, self._compute)
        metrics.waiting.set_function(self._turns.count_waiting)

    def outputs(self, loaded: LoadedVersion, inputs: Sequence[Input | ServiceError]) -> Outputs:
        """Raises Overloaded, or the input's error where none of them can be read."""
        work = _Work(loaded, inputs)
        return Outputs(self._values(work), work.read)

    def run(self, loaded: LoadedVersion, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, …) as the network takes them → (n, outputs). Raises Overloaded."""
        return self._values(_Work(loaded, (), rows))

    def _values(self, work: _Work) -> NDArray[np.float32]:
        self._turns.do(work)
        if work.values is None:
            raise next(found for found in work.read if isinstance(found, ServiceError))
        return work.values

    def _compute(self, works: Sequence[_Work]) -> None:
        """Of one version."""
        for work in works:
            self._metrics.waited.observe(perf_counter() - work.asked_at)
            if work.rows is None:
                self._prepare(work)
        parts = [work.rows for work in works if work.rows is not None]
        if not parts:
            return
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        began = perf_counter()
        values = works[0].loaded.run(rows)
        seconds = perf_counter() - began
        start = 0
        for work in works:
            if work.rows is not None:
                work.values = values[start : start + len(work.rows)]
                start += len(work.rows)
                self._metrics.inferred.observe(seconds)
        self._metrics.batch.observe(len(rows))
        works[0].loaded.statistics.count(len(parts), len(rows), seconds)

    def _prepare(self, work: _Work) -> None:
        began = perf_counter()
        rows, work.read = rows_of(work.inputs, work.loaded.description.preprocessing, self._limits)
        if rows:
            work.rows = rows[0][np.newaxis] if len(rows) == 1 else np.stack(rows)
        self._metrics.prepared.observe(perf_counter() - began)


def predictions_document(loaded: LoadedVersion, outputs: Outputs, top: int) -> bytes:
    """The Predictions of shared/documents.py as JSON, numbers of float32 as short as they can be told apart."""
    answers = answers_of(outputs, loaded.description, top)
    document = {"model": loaded.model, "version": loaded.number, "predictions": answers}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def answers_of(outputs: Outputs, description: Description, top: int) -> list[Answer]:
    """An answer for each input, in their order."""
    values = iter(outputs.values)
    return [
        {"problem": problem_of(found).model_dump()}
        if isinstance(found, ServiceError)
        else answer_of(next(values), found, description, top)
        for found in outputs.read
    ]
