"""Test the simple models with which a version is compared."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score

from tests.support.examples import DIGITS, IRIS, LINE, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def show(http: FlaskClient, model: str) -> Json:
    answer = http.get(f"/api/v1/models/{model}/versions/1/baselines")
    assert answer.status_code == 200, answer.text
    document: Any = answer.json
    return {**document, "by_name": {one["name"]: one for one in document["baselines"]}}


@on_sqlite
def test_they_are_those_of_scikit_learn(http: FlaskClient, worker: InProcessWorker) -> None:
    spec: Any = {**changed(DIGITS, "dataset", {"name": "digits", "validation": "test"}), "baselines": True}
    train(http, worker, spec)
    found = show(http, "digits")
    by_name = found["by_name"]

    images, labels = load_digits(return_X_y=True)
    rows = http.get("/api/v1/models/digits/versions/1").json["lineage"]["dataset"]["rows"]
    metrics = http.get("/api/v1/models/digits/versions/1").json["metrics"]["test"]
    assert (found["metric"], found["test_rows"], found["version"]) == ("accuracy", rows["test"], metrics["accuracy"])
    assert by_name["majority_class"]["test"] < 0.2
    assert by_name["majority_class"]["cross_validation"] is None
    sgd = SGDClassifier(loss="log_loss", max_iter=5, random_state=42)
    with pytest.warns():  # it has not converged
        expected = cross_val_score(sgd, images / 16, labels, cv=5)
    assert by_name["sgd_classifier"]["cross_validation"]["mean"] == pytest.approx(expected.mean(), abs=0.05)
    assert len(by_name["sgd_classifier"]["cross_validation"]["folds"]) == 5
    assert by_name["logistic_regression"]["test"] > 0.9
    assert by_name["logistic_regression"]["rows"] == rows["train"]


@on_sqlite
def test_numbers_are_compared_with_the_mean_and_a_line(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, {**LINE, "baselines": True})
    found = show(http, "line")

    assert found["metric"] == "mean_absolute_error"
    assert set(found["by_name"]) == {"mean", "linear_regression"}
    assert found["by_name"]["linear_regression"]["test"] is None  # the rows are three


def test_they_can_be_computed_later_and_once(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)
    path = "/api/v1/models/iris/versions/1/baselines"
    assert_problem(http.get(path), 404, "evaluation-not-found")
    first = http.post(path)
    worker.run_all()
    again = http.post(path)

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json["id"] == again.json["id"]
    assert (again.json["status"], again.json["kind"]) == ("succeeded", "baselines")
    assert again.json["links"]["baselines"] == path
    by_name = show(http, "iris")["by_name"]
    assert by_name["logistic_regression"]["cross_validation"]["mean"] > 0.9
    assert np.isclose(by_name["majority_class"]["test"], 1 / 3, atol=0.15)


@on_sqlite
def test_a_version_trains_the_same_with_and_without_them(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)
    train(http, worker, {**IRIS, "baselines": True})

    digests = {http.get(f"/api/v1/models/iris/versions/{number}").json["weights_digest"] for number in (1, 2)}
    assert len(digests) == 1


@on_sqlite
def test_rows_of_several_labels_have_none(http: FlaskClient, worker: InProcessWorker) -> None:
    spec: Any = {
        "model": "labels",
        "dataset": {"inline": {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [[0, 0], [0, 1], [1, 1], [1, 1]]}},
        "network": {"layers": [{"layer": "Dense", "units": 2, "activation": "sigmoid"}]},
        "training": {"loss": "binary_crossentropy"},
        "baselines": True,
    }
    train(http, worker, spec)
    location = http.post("/api/v1/models/labels/versions/1/baselines").headers["Location"]
    worker.run_all()

    assert http.get(location).json["error"]["type"] == "/problems/dataset-does-not-fit"
