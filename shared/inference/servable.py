"""Load a version into memory, check its golden samples, and run its network."""

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
from shared.inference.inputs import ImageInput, Input, NumbersInput, TextInput, preprocess_input
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.preprocessing.contract import answers_with_mirror_images
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry.manifest import INPUT_NAME, MANIFEST_FILE, ONNX_FILE, OUTPUT_NAME, GoldenSample, ManifestFile
from shared.storage.artifacts import ArtifactStore

MAX_ROWS_PER_RUN = 32
"""With more rows, the outputs of the layers no longer fit the cache of the processor."""
SESSION_BYTES = 400_000
SESSION_FACTOR = 1.1
"""A session takes SESSION_BYTES, and SESSION_FACTOR bytes of memory for each byte of the ONNX file."""
MANIFEST_FACTOR = 12
"""The most bytes of memory that each byte of a manifest takes, measured on layers, classes and golden samples."""
TRIAL_BATCH_SIZE = 4
TRIALS = 3
MAX_BATCH_COST = 0.9
MAX_TRIAL_SECONDS = 0.02
_DECODER = ImageDecoder(ImageLimits(max_bytes=2**31, max_pixels=2**31), processes=0)
"""The decoder of golden samples, which were decoded within limits when the version was trained."""


@dataclass
class InferenceStatistics:
    """Counts since the version was loaded.

    `nanoseconds` is the total time of all runs. `last_milliseconds` is the time at which the last run ended, in
    milliseconds since 1970.
    """

    requests: int = 0
    inputs: int = 0
    nanoseconds: int = 0
    last_milliseconds: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, requests: int, inputs: int, seconds: float) -> None:
        """Add one run that took this many seconds."""
        with self._counting:
            self.requests += requests
            self.inputs += inputs
            self.nanoseconds += int(1e9 * seconds)
            self.last_milliseconds = int(1000 * time.time())


class Servable:
    """A version in memory, which several threads may use.

    `size_bytes` is an estimate of its memory. `last_used_at` is in seconds of the monotonic clock.
    """

    def __init__(self, version: Version, manifest: ManifestFile, session: Any, size_bytes: int) -> None:  # noqa: ANN401 - onnxruntime
        self.model = version.model
        self.rename(version)
        self.manifest = manifest
        self.size_bytes = size_bytes
        self.last_used_at = time.monotonic()
        self.statistics = InferenceStatistics()
        self.is_faster_in_batches = False
        """Return whether one run of several inputs takes less time than one run for each."""
        self._session = session
        self._mirrors = answers_with_mirror_images(manifest.preprocessing)

    def rename(self, version: Version) -> None:
        """Take over what names the version. A candidate gets a number when it is published."""
        self.number = version.number
        self.reference = version.reference
        self.name = f"{version.model}/{version.reference}"

    @property
    def tolerance(self) -> float:
        """Return the largest difference from the golden outputs, in the scale of `compute_max_difference`."""
        return self.manifest.tolerance if self.manifest.tolerance is not None else TOLERANCE

    def drop_origin(self) -> None:
        """Drop what is not needed after the check: the golden images, the architecture and the spec of the training.

        Each can take megabytes. Golden rows of numbers stay: the chart of the decision surface shows them. What stays
        is counted in `size_bytes`.
        """
        manifest = self.manifest
        numbers = tuple(sample for sample in manifest.golden_samples if sample.numbers is not None)
        lineage = manifest.lineage.model_copy(update={"spec": {}})
        self.manifest = manifest.model_copy(update={"golden_samples": numbers, "architecture": {}, "lineage": lineage})
        self.size_bytes += MANIFEST_FACTOR * len(self.manifest.model_dump_json())

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the answers for rows (n, *input_shape): (n, outputs) float32.

        They are the outputs of the network, or the mean of those for each image and its mirror image.
        """
        if not self._mirrors:
            return self.run_network(rows)
        answers = self.run_network(np.concatenate([rows, rows[:, :, ::-1]]))
        means: NDArray[np.float32] = np.mean(np.split(answers, 2), axis=0, dtype=np.float32)
        return means

    def run_network(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on rows (n, *input_shape). Returns (n, outputs) float32."""
        if len(rows) <= MAX_ROWS_PER_RUN:
            return self._session.run([OUTPUT_NAME], {INPUT_NAME: rows})[0]  # type: ignore[no-any-return]
        answers = [
            self._session.run([OUTPUT_NAME], {INPUT_NAME: rows[start : start + MAX_ROWS_PER_RUN]})[0]
            for start in range(0, len(rows), MAX_ROWS_PER_RUN)
        ]
        return np.concatenate(answers)


def load_servable(version: Version, artifacts: ArtifactStore) -> Servable:
    """Load a version, check its golden samples and measure whether batches are faster.

    Raises ArtifactDamaged, or VersionNotServable if an output differs by more than the tolerance of the version.
    """
    servable = open_servable(version, artifacts)
    difference = compute_golden_difference(servable)
    if difference > servable.tolerance:
        raise VersionNotServable(
            f"Version {servable.name} cannot be served: its outputs for the golden samples differ by "
            f"{difference:.2g}, the limit is {servable.tolerance:.2g}. Train it again."
        )
    servable.is_faster_in_batches = _is_faster_in_batches(servable)
    servable.drop_origin()
    return servable


def open_servable(version: Version, artifacts: ArtifactStore) -> Servable:
    """Load a version without a check of its golden samples. Raises ArtifactDamaged or VersionNotServable."""
    import onnxruntime  # imported late: a process without predictions saves its memory

    name = f"{version.model}/{version.reference}"
    digests = {file.name: file.sha256 for file in version.files}
    try:
        manifest = ManifestFile.model_validate_json(artifacts.read(digests[MANIFEST_FILE]))
    except ValidationError as error:
        raise VersionNotServable(
            f"Version {name} was written by another release of Trainyard. Train it again."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the memory of a run for each version, and is not faster
    with TemporaryDirectory() as copies:  # a session made from bytes keeps a copy of them in memory
        network = artifacts.get_local_path(digests[ONNX_FILE], Path(copies))
        size = SESSION_BYTES + int(SESSION_FACTOR * network.stat().st_size)
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return Servable(version, manifest, session, size)


def compute_golden_difference(servable: Servable) -> float:
    """Return the largest difference from Keras on the golden samples, in the scale of `compute_max_difference`."""
    samples, contract = servable.manifest.golden_samples, servable.manifest.preprocessing
    rows = np.stack([preprocess_input(_to_input(sample), contract, _DECODER).values for sample in samples])
    expected = np.asarray([sample.outputs for sample in samples], np.float32)
    return compute_max_difference(servable.run_network(rows), expected)


def _is_faster_in_batches(servable: Servable) -> bool:
    """Measure whether a run of TRIAL_BATCH_SIZE rows is faster than as many runs of one row.

    Small networks are faster in batches: loading their weights from memory takes longer than computing with them. A
    network that takes MAX_TRIAL_SECONDS or more for one row is not measured with more rows; the result is False.
    """
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


def _to_input(sample: GoldenSample) -> Input:
    if sample.text is not None:
        return TextInput("golden sample", sample.text)
    if sample.b64 is not None:
        return ImageInput("golden sample", base64.b64decode(sample.b64))
    return NumbersInput("golden sample", sample.numbers)
