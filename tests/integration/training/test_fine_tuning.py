"""Test trainings that start from a published version."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, IRIS, Json, changed
from tests.support.jobs import train
from tests.support.versions import read_weights
from tests.support.worker import InProcessWorker

CONVOLUTIONAL = changed(
    DIGITS,
    "network.layers",
    [
        {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu", "name": "edges"},
        {"layer": "BatchNormalization"},
        {"layer": "Residual", "layers": [{"layer": "Conv2D", "filters": 6, "kernel_size": 3, "padding": "same"}]},
        {"layer": "Flatten"},
        {"layer": "Dense", "units": 10, "activation": "softmax", "name": "answer"},
    ],
)
FINE_TUNING: Json = {
    "model": "tuned",
    "dataset": {"name": "digits", "limit": 100},
    "network": {"from": "digits"},
    "training": {"epochs": 1, "optimizer": {"name": "SGD", "learning_rate": 1e-9}},
}


def get_version(http: FlaskClient, model: str, number: int = 1) -> Any:
    return http.get(f"/api/v1/models/{model}/versions/{number}").json


def test_a_training_starts_from_the_weights_of_a_version(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)

    job = train(http, worker, FINE_TUNING)

    assert job["status"] == "succeeded", job["error"]
    assert job["spec"]["network"]["from"] == "digits@1"
    before, after = get_version(http, "digits"), get_version(http, "tuned")
    assert after["preprocessing"] == before["preprocessing"]
    assert after["metrics"]["test"]["accuracy"] == pytest.approx(before["metrics"]["test"]["accuracy"], abs=0.02)
    kernels = [name for name in read_weights(http, "digits") if "normalization" not in name]
    for name in kernels:
        assert np.allclose(read_weights(http, "digits")[name], read_weights(http, "tuned")[name], atol=1e-5), name


def test_frozen_layers_keep_their_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    spec = changed(changed(FINE_TUNING, "network.freeze", ["edges", "conv2d*", "batch*"]), "training", {"epochs": 2})

    plan = http.post("/api/v1/jobs?dry_run=true", json=spec).json
    train(http, worker, spec)

    trainable = {row["name"] for row in plan["layers"] if row["trainable_parameters"]}
    assert trainable == {"answer"}
    before, after = read_weights(http, "digits"), read_weights(http, "tuned")
    changed_layers = {name.split("/")[1] for name in before if not np.array_equal(before[name], after[name])}
    assert changed_layers == {"dense"}
    assert get_version(http, "tuned")["trainable_parameters"] == plan["trainable_parameters"]


def test_other_classes_get_a_new_output_layer(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    spec = changed(FINE_TUNING, "dataset", {"name": "digits", "classes": [3, 5, 8]})
    spec = changed(spec, "training", {"epochs": 20, "optimizer": {"name": "Adam", "learning_rate": 0.01}})

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    tuned = get_version(http, "tuned")
    assert tuned["classes"] == ["3", "5", "8"]
    assert tuned["signature"]["outputs"][0]["shape"] == [-1, 3]
    assert tuned["metrics"]["test"]["accuracy"] > 0.8


def test_an_alias_is_resolved_when_the_job_is_submitted(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    train(http, worker, CONVOLUTIONAL)
    http.put("/api/v1/models/digits/aliases/production", json={"version": 1})

    references = [
        http.post("/api/v1/jobs", json=changed(FINE_TUNING, "network.from", reference)).json["spec"]["network"]["from"]
        for reference in ("digits", "digits@latest", "digits@production", "digits@2")
    ]

    assert references == ["digits@1", "digits@2", "digits@1", "digits@2"]


def test_the_normalisation_of_the_version_is_kept(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)
    spec = changed(changed(FINE_TUNING, "network.from", "iris"), "dataset", {"name": "iris", "limit": 30})

    train(http, worker, spec)

    assert get_version(http, "tuned")["preprocessing"] == get_version(http, "iris")["preprocessing"]


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("network.from", "nobody", "#/network/from"),
        ("network.from", "digits@7", "#/network/from"),
        ("network.from", "digits@staging", "#/network/from"),
        ("network.from", "Digits!", "#/network/from"),
        ("network.freeze", ["zork*"], "#/network/freeze/0"),
        ("network.freeze", ["*"], "#/network/freeze"),
        ("network.layers", [{"layer": "Flatten"}], "#/network"),
        ("dataset", {"name": "iris"}, "#/network/from"),
        ("preprocessing", {"size": [9, 9]}, "#/network/from"),
    ],
)
def test_invalid_fine_tuning_is_refused_at_submission(
    http: FlaskClient, worker: InProcessWorker, path: str, value: object, pointer: str
) -> None:
    train(http, worker, DIGITS)

    answer = http.post("/api/v1/jobs", json=changed(FINE_TUNING, path, value))

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer
