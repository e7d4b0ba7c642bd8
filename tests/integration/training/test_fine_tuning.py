"""Trainings that start from a version."""

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
TUNED: Json = {
    "model": "tuned",
    "dataset": {"name": "digits", "limit": 100},
    "network": {"from": "digits"},
    "training": {"epochs": 1, "optimizer": {"name": "SGD", "learning_rate": 1e-9}},
}


def version(http: FlaskClient, model: str, number: int = 1) -> Any:
    return http.get(f"/api/v1/models/{model}/versions/{number}").json


def test_a_version_is_gone_on_with(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)

    job = train(http, worker, TUNED)

    assert job["status"] == "succeeded", job["error"]
    assert job["spec"]["network"]["from"] == "digits@1"
    before, after = version(http, "digits"), version(http, "tuned")
    assert after["preprocessing"] == before["preprocessing"]
    assert after["metrics"]["test"]["accuracy"] == pytest.approx(before["metrics"]["test"]["accuracy"], abs=0.02)
    kernels = [name for name in read_weights(http, "digits") if "normalization" not in name]
    for name in kernels:
        assert np.allclose(read_weights(http, "digits")[name], read_weights(http, "tuned")[name], atol=1e-5), name


def test_frozen_layers_keep_their_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    spec = changed(changed(TUNED, "network.freeze", ["edges", "conv2d*", "batch*"]), "training", {"epochs": 2})

    plan = http.post("/api/v1/jobs?dry_run=true", json=spec).json
    train(http, worker, spec)

    trainable = {row["name"] for row in plan["layers"] if row["trainable_parameters"]}
    assert trainable == {"answer"}
    before, after = read_weights(http, "digits"), read_weights(http, "tuned")
    moved = {name.split("/")[1] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"dense"}
    assert version(http, "tuned")["trainable_parameters"] == plan["trainable_parameters"]


def test_other_classes_get_a_head_of_their_own(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    spec = changed(TUNED, "dataset", {"name": "digits", "classes": [3, 5, 8]})
    spec = changed(spec, "training", {"epochs": 20, "optimizer": {"name": "Adam", "learning_rate": 0.01}})

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    tuned = version(http, "tuned")
    assert tuned["classes"] == ["3", "5", "8"]
    assert tuned["signature"]["outputs"][0]["shape"] == [-1, 3]
    assert tuned["metrics"]["test"]["accuracy"] > 0.8


def test_an_alias_is_what_it_means_when_the_spec_is_sent(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTIONAL)
    train(http, worker, CONVOLUTIONAL)
    http.put("/api/v1/models/digits/aliases/production", json={"version": 1})

    references = [
        http.post("/api/v1/jobs", json=changed(TUNED, "network.from", reference)).json["spec"]["network"]["from"]
        for reference in ("digits", "digits@latest", "digits@production", "digits@2")
    ]

    assert references == ["digits@1", "digits@2", "digits@1", "digits@2"]


def test_the_statistics_of_the_version_are_kept(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)
    spec = changed(changed(TUNED, "network.from", "iris"), "dataset", {"name": "iris", "limit": 30})

    train(http, worker, spec)

    assert version(http, "tuned")["preprocessing"] == version(http, "iris")["preprocessing"]


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
def test_what_cannot_be_started_from_is_told_before_it_is_queued(
    http: FlaskClient, worker: InProcessWorker, path: str, value: object, pointer: str
) -> None:
    train(http, worker, DIGITS)

    answer = http.post("/api/v1/jobs", json=changed(TUNED, path, value))

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer
