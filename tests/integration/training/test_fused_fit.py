"""Test that the fused fit, many epochs in one call, gives the weights and curves of Keras's own fit."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, IRIS, XOR, Json, changed
from tests.support.jobs import train
from tests.support.versions import read_weights
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BALANCED = changed(changed(IRIS, "training.class_weight", "balanced"), "training.epochs", 6)
SCHEDULED = changed(BALANCED, "training.learning_rate_schedule", {"name": "CosineDecay"})
WITH_METRICS = {**XOR, "training": {"epochs": 5, "loss": "mse", "metrics": ["mean_absolute_error"], "batch_size": 1}}
WITH_DROPOUT = changed(
    DIGITS,
    "network.layers",
    [
        {"layer": "Flatten"},
        {"layer": "Dropout", "rate": 0.3},
        {"layer": "BatchNormalization"},
        {"layer": "Dense", "units": 10, "activation": "softmax"},
    ],
)


@pytest.mark.parametrize(
    "spec",
    [XOR, BALANCED, SCHEDULED, DIGITS, WITH_DROPOUT, WITH_METRICS],
    ids=["xor", "class weights", "schedule", "images", "dropout", "metrics"],
)
def test_the_fused_fit_gives_the_weights_and_curves_of_fit(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, spec: Json
) -> None:
    fused = train(http, worker, changed(spec, "training.epochs", 5))
    monkeypatch.setattr("worker.training.fit._can_fuse", lambda *_: False)
    unfused = train(http, worker, changed(spec, "training.epochs", 5))

    assert (fused["status"], unfused["status"]) == ("succeeded", "succeeded")
    first, second = read_weights(http, spec["model"], 1), read_weights(http, spec["model"], 2)
    assert {name: array.tolist() for name, array in first.items()} == {
        name: array.tolist() for name, array in second.items()
    }
    for (epoch, rate, metrics), (same_epoch, same_rate, same_metrics) in zip(
        get_curves(http, fused), get_curves(http, unfused), strict=True
    ):
        assert (epoch, metrics) == (same_epoch, same_metrics)
        assert rate == pytest.approx(same_rate)


def test_a_fused_training_reports_progress_and_epochs(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, changed(XOR, "training.epochs", 700))

    assert job["progress"]["epoch"] == 700
    assert len(http.get(f"/api/v1/jobs/{job['id']}/metrics?limit=200").json["epochs"]) == 200


def test_a_loss_that_is_not_finite_fails_a_fused_training(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(XOR, "training", {"epochs": 50, "loss": "mse", "optimizer": {"name": "SGD", "learning_rate": 1e30}})
    spec["network"]["layers"] = [{"layer": "Dense", "units": 1}]

    job = train(http, worker, spec)

    assert job["error"]["type"] == "/problems/loss-is-not-finite"
    assert "in epoch" in job["error"]["detail"]


def get_curves(http: FlaskClient, job: Json) -> list[Any]:
    epochs = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]
    return [(epoch["epoch"], epoch["learning_rate"], epoch["metrics"]) for epoch in epochs]
