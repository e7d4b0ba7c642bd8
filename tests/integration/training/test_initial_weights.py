"""Test networks whose weights are set by hand in the spec."""

from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.networks.initial_weights import MAX_NUMBERS
from tests.support.examples import DIGITS, XOR, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BY_HAND: Any = [[[20, -20], [20, -20]], [-10, 30], [[20], [20]], [-30]]
SPEC = changed(
    changed(XOR, "network.layers.0", {"layer": "Dense", "units": 2, "activation": "sigmoid"}),
    "network.initial_weights",
    BY_HAND,
)


def test_a_network_by_hand_answers_without_training(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, changed(SPEC, "training.epochs", 0))
    answer = http.post("/api/v1/models/xor/predictions", json={"instances": XOR["dataset"]["inline"]["x"]}).json
    arrays = http.get("/api/v1/models/xor/versions/1/layers/dense/weights").json["arrays"]

    assert job["metrics"]["train"]["loss"] < 0.001
    assert [one["label"] for one in answer["predictions"]] == ["0", "1", "1", "0"]
    assert [one["values"] for one in arrays] == BY_HAND[:2]
    assert http.get("/api/v1/jobs/" + job["id"]).json["spec"]["network"]["initial_weights"] == BY_HAND


def test_a_training_begins_with_the_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    slow = changed(changed(SPEC, "training.optimizer", {"name": "SGD", "learning_rate": 1e-6}), "training.epochs", 1)
    train(http, worker, slow)

    kernel, *_ = http.get("/api/v1/models/xor/versions/1/layers/dense/weights").json["arrays"]

    assert kernel["values"] == [pytest.approx(row, abs=1e-3) for row in BY_HAND[0]]


def test_the_order_is_that_of_keras(http: FlaskClient, worker: InProcessWorker) -> None:
    inputs = keras.Input((2,), name="input")
    left, right = (keras.layers.Dense(2, name=name)(inputs) for name in ("left", "right"))
    merged = keras.layers.BatchNormalization()(keras.layers.Concatenate()([right, left]))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(merged))
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1, weight.shape) for weight in model.get_weights()])
    spec: Any = {
        **XOR,
        "network": {"keras": model.to_json(), "initial_weights": [w.tolist() for w in model.get_weights()]},
    }

    train(http, worker, changed(spec, "training.epochs", 0))

    x = np.array(XOR["dataset"]["inline"]["x"], np.float32)
    answer = http.post("/v1/models/xor:predict", json={"instances": x.tolist()}).json["predictions"]
    np.testing.assert_allclose(np.ravel(answer), np.ravel(model(x)), atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "pointer", "words"),
    [
        (
            [],
            "",
            "and the network has 4: dense/kernel [2, 2], dense/bias [2], dense_1/kernel [2, 1]",
        ),
        (BY_HAND[:3], "", "There are 3 arrays, and the network has 4"),
        ([BY_HAND[0], [[1], [2]], *BY_HAND[2:]], "/1", "The shape is [2, 1], and dense/bias needs [2]."),
        ([[[1, 2], [3]], *BY_HAND[1:]], "/0/1", "The list has 1 entries"),
        ([[[1, 2], [3, "x"]], *BY_HAND[1:]], "/0/1/1", "'x' is not a number"),
        ([{"a": 1}, *BY_HAND[1:]], "/0", "is not a number"),
        ([3, *BY_HAND[1:]], "/0", "The shape is [], and dense/kernel needs [2, 2]."),
        ([[[1, 2], [3, 1e300]], *BY_HAND[1:]], "/0/1/1", "is not a finite 32-bit"),
    ],
    ids=["none", "too few", "shape", "ragged", "text", "mapping", "scalar", "infinite"],
)
def test_weights_that_do_not_fit_are_refused(http: FlaskClient, arrays: Any, pointer: str, words: str) -> None:
    answer = http.post("/api/v1/jobs", json=changed(SPEC, "network.initial_weights", arrays))

    (fault,) = assert_problem(answer, 422, "invalid-request")["errors"]
    assert fault["pointer"] == f"#/network/initial_weights{pointer}"
    assert words in fault["detail"]


def test_large_networks_and_versions_have_no_weights_in_a_spec(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)
    large = changed(SPEC, "network.layers.0.units", MAX_NUMBERS)
    version = {**XOR, "network": {"from": "digits", "initial_weights": BY_HAND}}

    (too_large,) = assert_problem(http.post("/api/v1/jobs", json=large), 422, "invalid-request")["errors"]
    (both,) = assert_problem(http.post("/api/v1/jobs", json=version), 422, "invalid-request")["errors"]

    assert "40,001 weights; the limit for weights in a spec is 10,000" in too_large["detail"]
    assert "`initial_weights` cannot be used with `from`" in both["detail"]


def test_heavisides_step_answers_and_learns_nothing_before_it(http: FlaskClient, worker: InProcessWorker) -> None:
    step = {"layer": "Dense", "activation": "heaviside"}
    weights: Any = [[[1, 1], [1, 1]], [-1.5, -0.5], [[-1], [1]], [-0.5]]  # AND and OR; OR and not AND
    spec: Any = {
        **XOR,
        "network": {"layers": [{**step, "units": 2}, {**step, "units": 1}], "initial_weights": weights},
        "training": {"epochs": 0, "loss": "binary_crossentropy"},
    }
    train(http, worker, spec)
    train(http, worker, {**spec, "network": {"from": "xor@1"}, "training": {**spec["training"], "epochs": 2}})

    for number in (1, 2):
        answer = http.post(
            f"/api/v1/models/xor/versions/{number}/predictions", json={"instances": XOR["dataset"]["inline"]["x"]}
        )
        kernel, *_ = http.get(f"/api/v1/models/xor/versions/{number}/layers/dense/weights").json["arrays"]
        assert [one["label"] for one in answer.json["predictions"]] == ["0", "1", "1", "0"]
        assert kernel["values"] == weights[0]
