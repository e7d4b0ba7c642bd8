"""Read the inputs with which exports are proved: the golden samples of a version, and rows of its data set."""

import base64
from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from shared.inference.inputs import NumbersInput, preprocess_input
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.text import TextContract, encode_padded
from shared.registry.exports import TestComparison
from shared.registry.manifest import ManifestFile
from worker.training.input.version_data import VersionData

HALF = 0.5


def read_golden_inputs(
    manifest: ManifestFile, decoder: ImageDecoder
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | NDArray[np.float32]]:
    """Return the golden samples as inputs of the network, and before normalisation."""
    contract = manifest.preprocessing
    if isinstance(contract, TextContract):
        indices = np.stack([encode_padded(contract, sample.text or "") for sample in manifest.golden_samples])
        return indices.astype(np.float32), indices.astype(np.float32)
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


def compare_on_test_part(
    data: VersionData, network: keras.Model, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> TestComparison | None:
    """Compare the outputs of a file with those of the network on the test part. Returns None without test rows."""
    if not len(data.test):
        return None
    own = network.predict(data.test, verbose=0)
    exported = run(data.test)
    metric, before = _measure(data, own)
    _, after = _measure(data, exported)
    return TestComparison(rows=len(data.test), metric=metric, version=before, exported=after)


def _measure(data: VersionData, outputs: NDArray[np.float32]) -> tuple[str, float]:
    """Return the name and the value of the metric that fits the labels."""
    objective = data.objective
    if objective.classes:
        predicted = (outputs[:, 0] > HALF) if objective.width == 1 else outputs.argmax(axis=1)
        return "accuracy", float((predicted.astype(np.int64) == objective.to_class_indices(data.test_labels)).mean())
    labels = objective.encode_labels(data.test_labels)
    if objective.labels:
        return "accuracy", float(((outputs > HALF) == (labels > HALF)).mean())
    return "mean_absolute_error", float(np.abs(outputs - labels).mean())
