"""Preprocess inputs, run networks in batches, and format predictions. An invalid input does not affect the others."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import orjson
from numpy.typing import NDArray

from api.http.problems import to_problem
from api.serving.batching import DynamicBatcher
from api.serving.metrics import Metrics
from shared.errors import ServiceError
from shared.inference.inputs import ImageInput, Input, find_inputs_meaning, is_prepared_quickly, preprocess_inputs
from shared.inference.meaning import Meaning
from shared.inference.predictions import PredictionDict, format_prediction
from shared.inference.servable import Servable
from shared.preprocessing.decoding import PixelBudget
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry.manifest import VersionManifest

TOO_MANY_PIXELS = (
    "the images of the request have more pixels than TRAINYARD_MAX_REQUEST_PIXELS, the limit; send fewer images in a "
    "request, or a batch prediction"
)
MAX_PREPARED_NUMBERS = 2**21
"""The most numbers of the network's input that a request has in memory. Its inputs are computed in as many slices."""
MAX_QUICK_BYTES = 16_000
"""Decoding an image up to this size takes a fraction of the time that the network takes."""


@dataclass(frozen=True)
class PredictionOutputs:
    """The outputs of the network for the inputs of a request.

    Attributes:
        values: (n, outputs) float32, for the n inputs that can be read, in their order.
        read: for every input in order, its warnings, or the error if it cannot be read.
        meaning: what the numbers of images were; None without any.
    """

    values: NDArray[np.float32]
    read: list[list[str] | ServiceError]
    meaning: Meaning | None


class _PredictionRequest:
    """A request in the queue.

    Attributes:
        asked_at: time of its creation, in seconds of `perf_counter`.
        inputs: the inputs, or an error in place of an input; empty if the rows are given.
        rows: the network's input, (n, …) float32; None until it is made from `inputs`, and if no input can be read.
        is_prepared: whether `rows` and `read` are made. Otherwise they are made when the request is computed.
        read: for every input in order, its warnings or its error.
        meaning: what the numbers of images are; None without any.
        budget: what is left of the pixels that the images of a request may have.
        values: (n, outputs) float32; None until the request is computed, and if no input can be read.
    """

    __slots__ = (
        "asked_at",
        "budget",
        "inputs",
        "is_prepared",
        "is_quick",
        "kind",
        "meaning",
        "read",
        "rows",
        "servable",
        "values",
    )

    def __init__(
        self,
        servable: Servable,
        inputs: Sequence[Input | ServiceError],
        rows: NDArray[np.float32] | None = None,
        meaning: Meaning | None = None,
        budget: PixelBudget | None = None,
    ) -> None:
        self.asked_at = perf_counter()
        self.servable = servable
        self.inputs = inputs
        self.rows = rows
        self.is_prepared = rows is not None
        self.read: list[list[str] | ServiceError] = []
        self.meaning = meaning
        self.budget = budget
        self.values: NDArray[np.float32] | None = None
        is_batchable = len(inputs) == 1 and servable.is_faster_in_batches  # several inputs are a batch already
        self.is_quick = is_batchable and not _is_slow_to_decode(inputs[0])
        self.kind: Hashable = (servable, self.is_quick) if is_batchable else self


def _is_slow_to_decode(given: Input | ServiceError) -> bool:
    return isinstance(given, ImageInput) and len(given.data) > MAX_QUICK_BYTES


class Predictor:
    """Computes the predictions of all protocols in batches.

    Args:
        decoder: decodes the images.
        max_pixels: limit for all images of a request together.
        max_parallel_batches: the most batches that are computed at the same time.
        waiting: the most requests in the queue.
        seconds: the longest time that a request waits in the queue.
    """

    def __init__(
        self,
        decoder: ImageDecoder,
        max_pixels: int,
        max_parallel_batches: int,
        waiting: int,
        seconds: float,
        metrics: Metrics,
    ) -> None:
        self._decoder = decoder
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._batcher: DynamicBatcher[_PredictionRequest] = DynamicBatcher(
            max_parallel_batches, waiting, seconds, self._compute
        )
        metrics.waiting.set_function(self._batcher.count_waiting)

    def predict(self, servable: Servable, inputs: Sequence[Input | ServiceError]) -> PredictionOutputs:
        """Preprocess the inputs and run the network on them. An error among the inputs stays in its place.

        Raises Overloaded, or the error of the first input if none can be read.
        """
        contract = servable.manifest.preprocessing
        meaning = find_inputs_meaning(inputs, contract)
        budget = PixelBudget(self._max_pixels, TOO_MANY_PIXELS)
        step = max(1, MAX_PREPARED_NUMBERS // math.prod(contract.input_shape))
        works = [
            _PredictionRequest(servable, inputs[start : start + step], meaning=meaning, budget=budget)
            for start in range(0, len(inputs), step)
        ]
        for work in works:
            if len(inputs) > 1 or not is_prepared_quickly(inputs[0]):
                self._prepare(work)  # here, because a batch must not wait for it
            self._submit(work)
            work.rows = None
        read = works[0].read if len(works) == 1 else [found for work in works for found in work.read]
        values = [work.values for work in works if work.values is not None]
        if not values:
            raise next(found for found in read if isinstance(found, ServiceError))
        return PredictionOutputs(values[0] if len(values) == 1 else np.concatenate(values), read, meaning)

    def run(self, servable: Servable, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on rows that need no preprocessing, (n, *input_shape) float32.

        Returns (n, outputs) float32. Raises Overloaded.
        """
        work = _PredictionRequest(servable, (), rows)
        self._submit(work)
        assert work.values is not None  # noqa: S101 - rows are given
        return work.values

    def _submit(self, work: _PredictionRequest) -> None:
        """Compute a request. It has no values if no input can be read. Raises Overloaded."""
        if work.rows is not None or not work.is_prepared:
            self._batcher.submit(work)

    def _compute(self, works: Sequence[_PredictionRequest]) -> None:
        """Compute a batch of requests for the same version in one run of its network."""
        for work in works:
            self._metrics.waited.observe(perf_counter() - work.asked_at)
            if not work.is_prepared:
                self._prepare(work)
        parts = [work.rows for work in works if work.rows is not None]
        if not parts:
            return
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        began = perf_counter()
        values = works[0].servable.run(rows)
        seconds = perf_counter() - began
        start = 0
        for work in works:
            if work.rows is not None:
                work.values = values[start : start + len(work.rows)]
                start += len(work.rows)
                self._metrics.inferred.observe(seconds)
        self._metrics.batch.observe(len(rows))
        works[0].servable.statistics.count(len(parts), len(rows), seconds)

    def _prepare(self, work: _PredictionRequest) -> None:
        """Preprocess the inputs of a request. Sets `rows`, `read` and `is_prepared`."""
        began = perf_counter()
        budget = work.budget or PixelBudget(self._max_pixels, TOO_MANY_PIXELS)
        contract = work.servable.manifest.preprocessing
        rows, work.read = preprocess_inputs(work.inputs, contract, self._decoder, budget, work.meaning)
        work.is_prepared = True
        if rows:
            work.rows = rows[0][np.newaxis] if len(rows) == 1 else np.stack(rows)
        self._metrics.prepared.observe(perf_counter() - began)


def dump_predictions(servable: Servable, outputs: PredictionOutputs, top: int) -> bytes:
    """Format the document `Predictions` of api/documents as JSON. A float32 has the fewest digits that identify it."""
    answers = format_predictions(outputs, servable.manifest, top)
    document = {"model": servable.model, "version": servable.number, "predictions": answers}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def format_predictions(outputs: PredictionOutputs, manifest: VersionManifest, top: int) -> list[PredictionDict]:
    """Format the prediction of every input in order, or its problem. `top` is the number of classes in each."""
    values = iter(outputs.values)
    return [
        {"problem": to_problem(found).model_dump(by_alias=True)}
        if isinstance(found, ServiceError)
        else format_prediction(next(values), found, manifest, top)
        for found in outputs.read
    ]
