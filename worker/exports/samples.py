"""Read the inputs with which exports are proved: the golden samples of a version, and rows of its data set."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from shared.datasets import revisions, splits
from shared.datasets.row_files import MappedRows
from shared.datasets.stored_inline import read_stored_inline
from shared.inference.inputs import NumbersInput, preprocess_input
from shared.networks.objectives import Objective, choose_objective
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry.exports import TestComparison
from shared.registry.manifest import ManifestFile
from shared.spec.network import NetworkSpec
from shared.spec.training import LossSpec, TrainingSpec
from worker.context import WorkerContext
from worker.training.input.image_cache import load_prepared

MAX_CALIBRATION_ROWS = 200
MAX_TEST_ROWS = 10_000
HALF = 0.5


@dataclass(frozen=True)
class ExportParts:
    """Inputs of the network, (n, *input_shape) float32: some of the training part, and those of the test part.

    `labels` are those of the test part.
    """

    calibration: NDArray[np.float32]
    test: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    objective: Objective


def read_golden_inputs(
    manifest: ManifestFile, decoder: ImageDecoder
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | NDArray[np.float32]]:
    """Return the golden samples as inputs of the network, and before normalisation."""
    contract = manifest.preprocessing
    if isinstance(contract, NumbersContract):
        rows = [
            preprocess_input(NumbersInput("golden sample", sample.numbers), contract, decoder).values
            for sample in manifest.golden_samples
        ]
        inputs = np.stack(rows)
        offset, divisor = (
            np.asarray(values, np.float32) for values in (contract.normalisation.offset, contract.normalisation.divisor)
        )
        return inputs, (inputs * divisor + offset).astype(np.float32)
    contents = [base64.b64decode(sample.b64 or "") for sample in manifest.golden_samples]
    pixels = np.stack(
        [decoder.transform(data, read_header(data, decoder.limits), contract).pixels for data in contents]
    )
    return contract.normalisation.apply(pixels.astype(np.float32)), pixels


def load_parts(context: WorkerContext, manifest: ManifestFile, check: Callable[[], None]) -> ExportParts:
    """Load the data of the training again. Raises DatasetUnavailable or DatasetNotFound."""
    spec = TrainingSpec.model_validate(manifest.lineage.spec)
    with context.sessions() as session:
        found = revisions.find_spec_revision(session, spec.dataset)
        other = revisions.find_validation_revision(session, spec.dataset)
    uploaded, validation = (
        revisions.open_revision(one, context.artifacts, context.cache_dir / "uploaded") if one is not None else None
        for one in (found, other)
    )
    selected = read_stored_inline(spec.dataset, context.artifacts)
    dataset = splits.load_dataset(selected, spec.training.seed, context.datasets_dir, uploaded, validation)
    contract = manifest.preprocessing

    def prepare(part: splits.Part, limit: int) -> NDArray[np.float32]:
        prepared = load_prepared(
            part.x, contract, dataset.digest, context.decoder, context.cache_dir / "prepared", check
        )
        rows = choose_evenly(len(part), limit)
        values = prepared.read(rows) if isinstance(prepared, MappedRows) else prepared[rows]
        return contract.normalisation.apply(values.astype(np.float32))

    declared = NetworkSpec.model_construct(layers=None, keras=manifest.architecture, from_=None, freeze=())
    loss = spec.training.loss
    objective = choose_objective(
        loss.name if isinstance(loss, LossSpec) else loss,  # `from_logits`: the network has its activation by now
        dataset.info,
        declared,
        manifest.signature.outputs[0].shape[1:],
    )
    rows = choose_evenly(len(dataset.test), MAX_TEST_ROWS)
    return ExportParts(
        calibration=prepare(dataset.train, MAX_CALIBRATION_ROWS),
        test=prepare(dataset.test, MAX_TEST_ROWS),
        labels=dataset.test.y[rows],
        objective=objective,
    )


def compare_on_test_part(
    parts: ExportParts, network: keras.Model, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> TestComparison | None:
    """Compare the outputs of a file with those of the network on the test part. Returns None without test rows."""
    if not len(parts.test):
        return None
    own = network.predict(parts.test, verbose=0)
    exported = run(parts.test)
    metric, before = _measure(parts, own)
    _, after = _measure(parts, exported)
    return TestComparison(rows=len(parts.test), metric=metric, version=before, exported=after)


def _measure(parts: ExportParts, outputs: NDArray[np.float32]) -> tuple[str, float]:
    """Return the name and the value of the metric that fits the labels."""
    objective = parts.objective
    if objective.classes:
        predicted = (outputs[:, 0] > HALF) if objective.width == 1 else outputs.argmax(axis=1)
        return "accuracy", float((predicted.astype(np.int64) == objective.to_class_indices(parts.labels)).mean())
    labels = objective.encode_labels(parts.labels)
    if objective.labels:
        return "accuracy", float(((outputs > HALF) == (labels > HALF)).mean())
    return "mean_absolute_error", float(np.abs(outputs - labels).mean())


def choose_evenly(count: int, limit: int) -> NDArray[np.int64]:
    """Choose at most `limit` of `count` rows at equal distances."""
    return np.linspace(0, max(count - 1, 0), min(count, limit)).astype(np.int64)
