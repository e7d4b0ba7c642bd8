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
from shared.inference.inputs import ImageInput, NumbersInput, row_of
from shared.inference.parity import TOLERANCE, largest_difference
from shared.preprocessing.decoding import ImageLimits
from shared.registry.manifest import DESCRIPTION_FILE, INPUT_NAME, ONNX_FILE, OUTPUT_NAME, DescriptionFile, GoldenSample
from shared.storage.artifacts import ArtifactStore

ROWS_AT_ONCE = 32
"""With more, what the layers make of them no longer fits the cache of a processor."""
SESSION_BYTES = 400_000
SESSION_FACTOR = 1.1
"""What a version takes beside the weights, and for each byte of them."""
TOGETHER = 4
TRIALS = 3
GAIN = 0.9
SLOW_SECONDS = 0.02
_UNLIMITED = ImageLimits(max_bytes=2**31, max_pixels=2**31)


@dataclass
class Statistics:
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


class LoadedVersion:
    """Safe for threads. `size_bytes` is about what it holds of the memory; `used_at` is by the monotonic clock."""

    def __init__(self, version: Version, description: DescriptionFile, session: Any, size_bytes: int) -> None:  # noqa: ANN401 - onnxruntime
        self.model = version.model
        self.number = version.number
        self.name = f"{version.model}/{version.number}"
        self.description = description
        self.size_bytes = size_bytes
        self.used_at = time.monotonic()
        self.statistics = Statistics()
        self.is_faster_together = False
        """Whether several inputs in one run take less than one after another."""
        self._session = session

    def forget_samples(self) -> None:
        """Images, which may be a megabyte and have been answered; rows of numbers are small, and drawn in pictures."""
        numbers = tuple(sample for sample in self.description.golden_samples if sample.b64 is None)
        self.description = self.description.model_copy(update={"golden_samples": numbers, "architecture": {}})

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, …) in the network's input shape → (n, outputs)."""
        if len(rows) <= ROWS_AT_ONCE:
            return self._session.run([OUTPUT_NAME], {INPUT_NAME: rows})[0]  # type: ignore[no-any-return]
        answers = [
            self._session.run([OUTPUT_NAME], {INPUT_NAME: rows[start : start + ROWS_AT_ONCE]})[0]
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        return np.concatenate(answers)


def load_version(version: Version, artifacts: ArtifactStore) -> LoadedVersion:
    """Raises ArtifactDamaged, or VersionNotServable when it does not answer its golden samples as it must."""
    loaded = open_version(version, artifacts)
    difference = golden_difference(loaded)
    if difference > TOLERANCE:
        raise VersionNotServable(
            f"Version {loaded.name} is not served: it answers its own golden samples with a difference of "
            f"{difference:.2g}, where {TOLERANCE:g} is allowed."
        )
    loaded.is_faster_together = _is_faster_together(loaded)
    loaded.forget_samples()
    return loaded


def open_version(version: Version, artifacts: ArtifactStore) -> LoadedVersion:
    """Whatever it may answer. Raises ArtifactDamaged or VersionNotServable."""
    import onnxruntime  # with the first prediction: a process that answers none stays light

    name = f"{version.model}/{version.number}"
    digests = {file.name: file.sha256 for file in version.files}
    try:
        description = DescriptionFile.model_validate_json(artifacts.read(digests[DESCRIPTION_FILE]))
    except ValidationError as error:
        raise VersionNotServable(
            f"Version {name} was written by another release of Trainyard: train it again."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would hold for each version what one run needs, and is no faster
    with TemporaryDirectory() as copies:  # a session made of bytes keeps them, as large as all the rest
        network = artifacts.local_path(digests[ONNX_FILE], Path(copies))
        size = SESSION_BYTES + int(SESSION_FACTOR * network.stat().st_size)
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return LoadedVersion(version, description, session, size)


def golden_difference(loaded: LoadedVersion) -> float:
    """The largest between what it answers to its golden samples and what Keras did, as `largest_difference` counts."""
    samples, contract = loaded.description.golden_samples, loaded.description.preprocessing
    rows = np.stack([row_of(_input(sample), contract, _UNLIMITED).values for sample in samples])
    expected = np.asarray([sample.outputs for sample in samples], np.float32)
    return largest_difference(loaded.run(rows), expected)


def _is_faster_together(loaded: LoadedVersion) -> bool:
    """Small networks are, whose weights take longer to fetch than to use; a slow one is not worth the trial."""
    rows = np.zeros((TOGETHER, *loaded.description.preprocessing.input_shape), np.float32)
    alone = min(_seconds(loaded, rows[:1]) for _ in range(TRIALS))
    return alone < SLOW_SECONDS and min(_seconds(loaded, rows) for _ in range(TRIALS)) < GAIN * TOGETHER * alone


def _seconds(loaded: LoadedVersion, rows: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    loaded.run(rows)
    return time.perf_counter() - began


def _input(sample: GoldenSample) -> ImageInput | NumbersInput:
    if sample.b64 is not None:
        return ImageInput("golden sample", base64.b64decode(sample.b64))
    return NumbersInput("golden sample", sample.numbers)
