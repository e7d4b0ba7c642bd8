"""Test how the outputs of the ONNX file are compared with those of Keras."""

from pathlib import Path

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.errors import ExportDisagrees
from shared.inference.parity import TOLERANCE
from tests.support.examples import DIGITS, changed
from tests.support.jobs import train
from tests.support.worker import InProcessWorker
from worker.training.agreement import check_agreement
from worker.training.export import convert_to_onnx

SIDE = 1024


def make_mean(offset: float = 0) -> keras.Model:
    """Return a network that adds `offset` to the mean over SIDE² pixels."""
    given = keras.Input((SIDE, SIDE, 1))
    mean = keras.layers.GlobalAveragePooling2D()(given)
    return keras.Model(given, keras.layers.Rescaling(1, offset)(mean))


def write_onnx(network: keras.Model, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(convert_to_onnx(network))
    return path


@pytest.fixture
def bright() -> np.ndarray:
    """Provide two images (2, SIDE, SIDE, 1) whose sums exceed what float32 adds exactly."""
    return (np.random.default_rng(0).integers(200, 256, (2, SIDE, SIDE, 1)) / 255).astype(np.float32)


def test_a_difference_that_float32_explains_is_accepted(tmp_path: Path, bright: np.ndarray) -> None:
    network = make_mean()
    exact = bright.mean(axis=(1, 2), dtype=np.float64)
    naive = np.cumsum(bright.reshape(2, -1), axis=1, dtype=np.float32)[:, -1:] / np.float32(SIDE**2)
    assert np.abs(naive - exact).max() > TOLERANCE  # a sum of a million numbers, one after another

    tolerance = check_agreement(write_onnx(network, tmp_path), network, bright, naive)

    assert TOLERANCE < tolerance < 0.01


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path, bright: np.ndarray) -> None:
    network = make_mean()
    path = write_onnx(make_mean(offset=0.01), tmp_path)

    with pytest.raises(ExportDisagrees, match=r"Compared with float64, Keras is off by .* and the ONNX file by 0\.0"):
        check_agreement(path, network, bright, network(bright, training=False).numpy())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pooling_over_a_million_pixels_is_trained_and_served(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(changed(DIGITS, "preprocessing.size", [SIDE, SIDE]), "dataset.limit", 8)
    layers = [{"layer": "GlobalAveragePooling2D"}, {"layer": "Dense", "units": 10, "activation": "softmax"}]
    spec = changed(changed(spec, "network.layers", layers), "training.epochs", 1)

    job = train(http, worker, changed(spec, "dataset.test", {"split": 0.002}))

    assert job["status"] == "succeeded", job["error"]
    assert http.get("/api/v1/models/digits/versions/1/self-test").json["passed"]
