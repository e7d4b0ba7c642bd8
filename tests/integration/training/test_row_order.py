"""Test the order of the training rows against the delta rule and backpropagation in NumPy."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from tests.support.examples import Json
from tests.support.jobs import train
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])  # the third column is the bias
XOR_LABELS = np.array([[0], [1], [1], [0]])
HIDDEN = np.random.default_rng(1).uniform(-1, 1, (3, 4))
OUTPUT = np.random.default_rng(2).uniform(-1, 1, (4, 1))
EPOCHS = 200


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    activated: NDArray[Any] = 1 / (1 + np.exp(-values))
    return activated


def propagate_back(loss: str, learning_rate: float) -> list[NDArray[Any]]:
    """Train the network row by row, in the order of the data, as the course does in NumPy."""
    hidden, output = HIDDEN.copy(), OUTPUT.copy()
    for _ in range(EPOCHS):
        for x, wanted in zip(X, XOR_LABELS, strict=True):
            inner = sigmoid(x @ hidden)
            answer = sigmoid(inner @ output)
            delta = wanted - answer if loss == "binary_crossentropy" else answer * (1 - answer) * (wanted - answer)
            inner_delta = inner * (1 - inner) * (output @ delta)
            hidden += learning_rate * np.outer(x, inner_delta)
            output += learning_rate * np.outer(inner, delta)
    return [hidden, output]


def describe(loss: str, learning_rate: float, **options: Any) -> Json:
    return {
        "model": "backpropagation",
        "dataset": {"inline": {"x": X.tolist(), "y": XOR_LABELS.tolist()}, "validation": {"split": 0.0}},
        "network": {
            "layers": [
                {"layer": "Dense", "units": 4, "activation": "sigmoid", "use_bias": False},
                {"layer": "Dense", "units": 1, "activation": "sigmoid", "use_bias": False},
            ],
            "initial_weights": [HIDDEN.tolist(), OUTPUT.tolist()],
        },
        "training": {
            "epochs": EPOCHS,
            "batch_size": 1,
            "optimizer": {"name": "SGD", "learning_rate": learning_rate},
            "loss": loss,
            "metrics": [],
            **options,
        },
    }


def read_weights(http: FlaskClient, version: int) -> list[Any]:
    layers: Any = http.get(f"/api/v1/models/backpropagation/versions/{version}/layers").json["layers"]
    names = [layer["name"] for layer in layers if layer["parameters"]]
    path = f"/api/v1/models/backpropagation/versions/{version}/layers"
    return [http.get(f"{path}/{name}/weights").json["arrays"][0]["values"] for name in names]


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize(("loss", "factor"), [("binary_crossentropy", 1), ("mse", 0.5)])  # the slope of e² is 2e
def test_rows_in_their_order_give_the_weights_of_backpropagation_in_numpy(
    http: FlaskClient,
    worker: InProcessWorker,
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
    factor: float,
    is_fused: bool,  # noqa: FBT001
) -> None:
    if not is_fused:
        monkeypatch.setattr("worker.training.fit._can_fuse", lambda *_: False)
    train(http, worker, describe(loss, 0.9 * factor, shuffle=False))
    expected = propagate_back(loss, 0.9)

    found = read_weights(http, 1)

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_rows_are_shuffled_if_nothing_is_said(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, describe("mse", 0.45))
    job: Any = http.get("/api/v1/jobs").json["jobs"][0]

    assert not np.allclose(read_weights(http, 1)[0], propagate_back("mse", 0.9)[0], atol=1e-4)
    assert "shuffle" not in http.get(f"/api/v1/jobs/{job['id']}").json["spec"]["training"]
