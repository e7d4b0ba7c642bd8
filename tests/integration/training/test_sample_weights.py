"""Test rows that weigh more or less than others in the loss."""

import json

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import npz, upload_dataset
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MEAN: Json = {
    "model": "mean",
    "dataset": {"name": "rows"},
    "network": {"layers": [{"layer": "Dense", "units": 1, "use_bias": False}]},
    "training": {"epochs": 200, "batch_size": 4, "optimizer": {"name": "SGD", "learning_rate": 0.05}, "loss": "mse"},
}
"""A network with one weight, which becomes the weighted mean of the labels of the rows with x = 1."""
LABELS, WEIGHTS = [1.5, 2.5, 4.5, 8.5], [1, 0, 2, 1]
WEIGHTED_MEAN = 4.75
CSV = "x,w,y\n" + "".join(f"1,{weight},{label}\n" for weight, label in zip(WEIGHTS, LABELS, strict=True))


def predict_mean(http: FlaskClient) -> float:
    """Return the prediction for x = 1."""
    answer = http.post("/api/v1/models/mean/predictions", json={"instances": [[1]]}).json
    value: float = answer["predictions"][0]["value"]
    return value


def test_a_column_of_a_table_has_the_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    answer = upload_dataset(http, CSV.encode(), "rows", weight="w")
    assert (answer.status_code, answer.json["columns"], answer.json["label"]) == (201, ["x"], "y")

    job = train(http, worker, MEAN)

    assert job["status"] == "succeeded", job["error"]
    assert predict_mean(http) == pytest.approx(WEIGHTED_MEAN, abs=0.05)


def test_an_npz_has_the_weights_of_the_training_rows(http: FlaskClient, worker: InProcessWorker) -> None:
    arrays = {"x_train": np.ones((4, 1)), "y_train": np.array(LABELS), "x_test": np.ones((2, 1)), "y_test": np.ones(2)}
    answer = upload_dataset(http, npz(**arrays, sample_weight=np.array(WEIGHTS)), "rows")
    assert (answer.status_code, answer.json["ignored"]) == (201, [])

    assert train(http, worker, MEAN)["status"] == "succeeded"

    assert predict_mean(http) == pytest.approx(WEIGHTED_MEAN, abs=0.05)


def test_inline_data_have_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    inline = {"x": [1, 1, 1, 1], "y": LABELS, "sample_weight": WEIGHTS}

    train(http, worker, changed(MEAN, "dataset", {"inline": inline}))

    assert predict_mean(http) == pytest.approx(WEIGHTED_MEAN, abs=0.05)


def test_weights_of_rows_and_of_classes_are_multiplied(http: FlaskClient, worker: InProcessWorker) -> None:
    inline = {"x": [1, 1, 1], "y": ["a", "b", "b"], "sample_weight": [1, 0.5, 1.5]}
    spec = changed(MEAN, "dataset", {"inline": inline})
    spec = changed(spec, "network.layers.0.activation", "sigmoid")
    options = {"epochs": 500, "optimizer": {"name": "SGD", "learning_rate": 0.2}, "class_weight": {"b": 1.5}}

    train(http, worker, changed(spec, "training", options))

    answer = http.post("/api/v1/models/mean/predictions?top=2", json={"instances": [[1]]}).json
    probabilities = {one["label"]: one["probability"] for one in answer["predictions"][0]["top"]}
    assert probabilities == pytest.approx({"a": 0.25, "b": 0.75}, abs=0.01)


@pytest.mark.parametrize(
    ("content", "fields", "pointer", "detail"),
    [
        (CSV.replace("1,2,", "1,-2,").encode(), {"weight": "w"}, "#/file", "row 3 (from 1)"),
        (CSV.replace("1,2,", "1,much,").encode(), {"weight": "w"}, "#/file", "'much'"),
        (CSV.encode(), {"weight": "y", "label": "y"}, "#/weight", "label column"),
        (CSV.encode(), {"weight": "weights"}, "#/weight", "'weights'"),
        (npz(x=np.ones((4, 1)), y=np.array(LABELS), sample_weight=np.ones(3)), {}, "#/file", "4 training rows"),
        (npz(x=np.ones((4, 1)), y=np.array(LABELS), sample_weight=np.zeros(4)), {}, "#/file", "all weights are 0"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_bad_weights_are_refused(http: FlaskClient, content: bytes, fields: Json, pointer: str, detail: str) -> None:
    answer = upload_dataset(http, content, "rows", **fields)

    (error,) = assert_problem(answer, 422, "dataset-refused")["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


def test_the_weights_are_part_of_the_revision(http: FlaskClient) -> None:
    numbers = [
        upload_dataset(http, CSV.encode(), "rows", weight="w").json["revision"],
        upload_dataset(http, CSV.replace("1,2,", "1,3,").encode(), "rows", weight="w").json["revision"],
        upload_dataset(http, CSV.encode(), "rows", weight="w").json["revision"],
    ]

    assert numbers == [1, 2, 1]


def test_a_split_without_any_weight_fails_the_job(http: FlaskClient, worker: InProcessWorker) -> None:
    inline = {"x": [1, 1, 1, 1], "y": LABELS, "sample_weight": [0, 0, 0, 1]}
    dataset = {"inline": inline, "validation": {"rows": 1, "from": "end"}}

    job = train(http, worker, changed(MEAN, "dataset", dataset))

    assert (job["status"], job["error"]["type"]) == ("failed", "/problems/dataset-does-not-fit")
    assert "weights" in job["error"]["detail"]
