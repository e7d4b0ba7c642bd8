"""Many epochs at once come to what Keras's own fit comes to."""

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


@pytest.mark.parametrize("spec", [XOR, BALANCED, SCHEDULED, DIGITS, WITH_DROPOUT], ids=lambda spec: spec["model"])
def test_weights_and_curves_are_those_of_fit(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, spec: Json
) -> None:
    at_once = train(http, worker, changed(spec, "training.epochs", 5))
    monkeypatch.setattr("worker.training.fit._can_fuse", lambda *_: False)
    by_fit = train(http, worker, changed(spec, "training.epochs", 5))

    assert (at_once["status"], by_fit["status"]) == ("succeeded", "succeeded")
    first, second = read_weights(http, spec["model"], 1), read_weights(http, spec["model"], 2)
    assert {name: array.tolist() for name, array in first.items()} == {
        name: array.tolist() for name, array in second.items()
    }
    for (epoch, rate, metrics), (same_epoch, same_rate, same_metrics) in zip(
        curves(http, at_once), curves(http, by_fit), strict=True
    ):
        assert (epoch, metrics) == (same_epoch, same_metrics)
        assert rate == pytest.approx(same_rate)


def test_a_light_training_is_watched_all_the_same(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, changed(XOR, "training.epochs", 700))

    assert job["progress"]["epoch"] == 700
    assert len(http.get(f"/api/v1/jobs/{job['id']}/metrics?limit=200").json["epochs"]) == 200


def test_a_loss_that_leaves_all_numbers_ends_it(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(XOR, "training", {"epochs": 50, "loss": "mse", "optimizer": {"name": "SGD", "learning_rate": 1e30}})
    spec["network"]["layers"] = [{"layer": "Dense", "units": 1}]

    job = train(http, worker, spec)

    assert job["error"]["type"] == "/problems/loss-is-not-finite"
    assert "in epoch" in job["error"]["detail"]


def curves(http: FlaskClient, job: Json) -> list[Any]:
    epochs = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]
    return [(epoch["epoch"], epoch["learning_rate"], epoch["metrics"]) for epoch in epochs]
