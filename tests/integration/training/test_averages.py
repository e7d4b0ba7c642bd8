"""Test `use_ema` of optimizers: the averages of the weights over the steps are published, and measured."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, Json, changed
from tests.support.jobs import train
from tests.support.versions import read_weights
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ONE_STEP: Json = changed(DIGITS, "training", {"epochs": 1, "batch_size": 180})
"""A light network, which would be trained with many epochs in one call."""


def with_averages(spec: Json, momentum: float) -> Json:
    arguments = {"name": "SGD", "learning_rate": 0.5, "use_ema": True, "ema_momentum": momentum}
    return changed(spec, "training.optimizer", arguments)


def test_the_averages_are_published(http: FlaskClient, worker: InProcessWorker) -> None:
    """Two steps: the first one starts the average, the second one counts a quarter."""
    weights: list[Any] = []
    for version, (epochs, momentum) in enumerate(((1, 0.0), (2, 0.0), (2, 0.75)), 1):
        job = train(http, worker, changed(with_averages(ONE_STEP, momentum), "training.epochs", epochs))
        assert job["status"] == "succeeded", job["error"]
        weights.append(read_weights(http, "digits", version))

    after_one, after_two, averages = weights
    for name, average in averages.items():
        np.testing.assert_allclose(average, 0.75 * after_one[name] + 0.25 * after_two[name], rtol=1e-5, atol=1e-7)


def test_the_metrics_are_those_of_the_averages(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, with_averages(changed(ONE_STEP, "training.epochs", 3), 0.9999))

    last = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"][-1]["metrics"]
    answer = http.post("/api/v1/models/digits/versions/1/evaluations", json={"part": "validation"})
    worker.run_all()

    evaluations = http.get("/api/v1/models/digits/versions/1/evaluations").json["evaluations"]
    assert answer.status_code == 202
    assert job["metrics"]["validation"]["loss"] == pytest.approx(evaluations[0]["metrics"]["loss"])
    assert job["metrics"]["validation"]["loss"] != pytest.approx(last["val_loss"])


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"keep": {"best": "val_loss"}}, "training.keep"),
        ({"early_stopping": {"restore_best": True}}, "training.early_stopping.restore_best"),
    ],
    ids=["keep", "restore_best"],
)
def test_averages_and_the_best_epoch_exclude_each_other(http: FlaskClient, training: Json, key: str) -> None:
    spec = with_averages(changed(DIGITS, "training", training), 0.9)

    problem = http.post("/api/v1/jobs", json=spec)

    assert problem.status_code == 422
    [error] = problem.json["errors"]
    assert error["pointer"] == "#/training/optimizer/use_ema"
    assert f"`{key}`" in error["detail"]
