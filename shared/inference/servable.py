"""One version in memory: loaded, checked against its golden samples, and answering."""

import base64
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from shared.database.tables.registry import Version
from shared.errors import VersionNotServable
from shared.inference.inputs import ImageInput, NumbersInput, preprocess_input
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.preprocessing.decoding import ImageLimits
from shared.registry.manifest import INPUT_NAME, MANIFEST_FILE, ONNX_FILE, OUTPUT_NAME, GoldenSample, ManifestFile
from shared.storage.artifacts import ArtifactStore

MAX_ROWS_PER_RUN = 32
"""With more, what the layers make of them no longer fits the cache of a processor."""
SESSION_BYTES = 400_000
SESSION_FACTOR = 1.1
"""What a version takes beside the weights, and for each byte of them."""
TRIAL_BATCH_SIZE = 4
TRIALS = 3
MAX_BATCH_COST = 0.9
MAX_TRIAL_SECONDS = 0.02
_NO_LIMITS = ImageLimits(max_bytes=2**31, max_pixels=2**31)


@dataclass
class InferenceStatistics:
    """Since it was loaded; `last_milliseconds` is the time of the last run, since 1970."""

    requests: int = 0
    inputs: int = 0
    nanoseconds: int = 0
    last_milliseconds: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, requests: int, inputs: int, seconds: float) -> None:
        with self._counting:
            self.requests += requests
            self.inputs += inputs
            self.nanoseconds += int(1e9 * seconds)
            self.last_milliseconds = int(1000 * time.time())


class Servable:
    """Safe for threads. `size_bytes` is about what it holds of the memory; `used_at` is by the monotonic clock."""

    def __init__(self, version: Version, manifest: ManifestFile, session: Any, size_bytes: int) -> None:  # noqa: ANN401 - onnxruntime
        self.model = version.model
        self.number = version.number
        self.name = f"{version.model}/{version.number}"
        self.manifest = manifest
        self.size_bytes = size_bytes
        self.last_used_at = time.monotonic()
        self.statistics = InferenceStatistics()
        self.is_faster_in_batches = False
        """Whether several inputs in one run take less than one after another."""
        self._session = session

    def drop_golden_images(self) -> None:
        """Images, which may be a megabyte and have been answered; rows of numbers are small, and drawn in pictures."""
        numbers = tuple(sample for sample in self.manifest.golden_samples if sample.b64 is None)
        self.manifest = self.manifest.model_copy(update={"golden_samples": numbers, "architecture": {}})

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, …) in the network's input shape → (n, outputs)."""
        if len(rows) <= MAX_ROWS_PER_RUN:
            return self._session.run([OUTPUT_NAME], {INPUT_NAME: rows})[0]  # type: ignore[no-any-return]
        answers = [
            self._session.run([OUTPUT_NAME], {INPUT_NAME: rows[start : start + MAX_ROWS_PER_RUN]})[0]
            for start in range(0, len(rows), MAX_ROWS_PER_RUN)
        ]
        return np.concatenate(answers)


def load_servable(version: Version, artifacts: ArtifactStore) -> Servable:
    """Raises ArtifactDamaged, or VersionNotServable when it does not answer its golden samples as it must."""
    servable = open_servable(version, artifacts)
    difference = compute_golden_difference(servable)
    if difference > TOLERANCE:
        raise VersionNotServable(
            f"Version {servable.name} is not served: it answers its own golden samples with a difference of "
            f"{difference:.2g}, where {TOLERANCE:g} is allowed."
        )
    servable.is_faster_in_batches = _is_faster_in_batches(servable)
    servable.drop_golden_images()
    return servable


def open_servable(version: Version, artifacts: ArtifactStore) -> Servable:
    """Whatever it may answer. Raises ArtifactDamaged or VersionNotServable."""
    import onnxruntime  # with the first prediction: a process that answers none stays light

    name = f"{version.model}/{version.number}"
    digests = {file.name: file.sha256 for file in version.files}
    try:
        manifest = ManifestFile.model_validate_json(artifacts.read(digests[MANIFEST_FILE]))
    except ValidationError as error:
        raise VersionNotServable(
            f"Version {name} was written by another release of Trainyard: train it again."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would hold for each version what one run needs, and is no faster
    with TemporaryDirectory() as copies:  # a session made of bytes keeps them, as large as all the rest
        network = artifacts.get_local_path(digests[ONNX_FILE], Path(copies))
        size = SESSION_BYTES + int(SESSION_FACTOR * network.stat().st_size)
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return Servable(version, manifest, session, size)


def compute_golden_difference(servable: Servable) -> float:
    """The largest between what it answers to its golden samples and what Keras did, as `largest_difference` counts."""
    samples, contract = servable.manifest.golden_samples, servable.manifest.preprocessing
    rows = np.stack([preprocess_input(_to_input(sample), contract, _NO_LIMITS).values for sample in samples])
    expected = np.asarray([sample.outputs for sample in samples], np.float32)
    return compute_max_difference(servable.run(rows), expected)


def _is_faster_in_batches(servable: Servable) -> bool:
    """Small networks are, whose weights take longer to fetch than to use; a slow one is not worth the trial."""
    rows = np.zeros((TRIAL_BATCH_SIZE, *servable.manifest.preprocessing.input_shape), np.float32)
    alone = min(_measure_seconds(servable, rows[:1]) for _ in range(TRIALS))
    return (
        alone < MAX_TRIAL_SECONDS
        and min(_measure_seconds(servable, rows) for _ in range(TRIALS)) < MAX_BATCH_COST * TRIAL_BATCH_SIZE * alone
    )


def _measure_seconds(servable: Servable, rows: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    servable.run(rows)
    return time.perf_counter() - began


def _to_input(sample: GoldenSample) -> ImageInput | NumbersInput:
    if sample.b64 is not None:
        return ImageInput("golden sample", base64.b64decode(sample.b64))
    return NumbersInput("golden sample", sample.numbers)
