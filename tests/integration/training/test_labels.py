"""Test rows that can have several labels: each output is the probability of one label."""

import csv
import io
import json

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from tests.support.examples import Json, changed
from tests.support.jobs import submit, train
from tests.support.problems import assert_problem
from tests.support.uploads import npz, upload_dataset
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SHAPES: Json = {
    "model": "shapes",
    "dataset": {"name": "shapes", "test": {"split": 0.25}},
    "network": {
        "layers": [
            {"layer": "Dense", "units": 16, "activation": "relu"},
            {"layer": "Dense", "units": 3, "activation": "sigmoid"},
        ]
    },
    "training": {"epochs": 30, "optimizer": {"name": "Adam", "learning_rate": 0.02}, "metrics": ["accuracy", "AUC"]},
}
NAMES = ["round", "red", "large"]


def make_rows(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows of three numbers, and mark those labels whose number, or sum of numbers, is positive."""
    x = np.random.default_rng(3).normal(size=(count, 3)).astype(np.float32)
    return x, np.stack([x[:, 0] > 0, x[:, 1] > 0.5, x.sum(axis=1) > 1], axis=1).astype(np.float32)


@pytest.fixture
def trained(http: FlaskClient, worker: InProcessWorker) -> Json:
    """Upload rows with several labels, train on them, and return the job."""
    x, y = make_rows()
    assert upload_dataset(http, npz(x=x, y=y, classes=np.array(NAMES)), "shapes").status_code == 201
    job = train(http, worker, SHAPES)
    assert job["status"] == "succeeded", job["error"]
    return job


def test_each_label_has_its_probability_in_every_format(http: FlaskClient, trained: Json) -> None:  # noqa: ARG001
    version = http.get("/api/v1/models/shapes/versions/1").json
    assert (version["classes"], version["labels"]) == ([], NAMES)

    rows = [[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0], [-2.0, 2.0, -2.0]]
    answers = http.post("/api/v1/models/shapes/predictions", json={"instances": rows}).json["predictions"]

    assert [set(answer["labels"]) for answer in answers] == [set(NAMES), set(), {"red"}]
    assert answers[2]["probabilities"][0]["label"] == "red"
    probabilities = [{one["label"]: one["probability"] for one in answer["probabilities"]} for answer in answers]
    raw = http.post("/v1/models/shapes:predict", json={"instances": rows}).json["predictions"]
    assert [list(map(row.get, NAMES)) for row in probabilities] == [pytest.approx(row) for row in raw]
    classified = http.post("/v1/models/shapes:classify", json={"examples": rows}).json["results"]
    assert [dict(row) for row in classified] == [pytest.approx(row) for row in probabilities]
    tensor = {"name": "input", "datatype": "FP32", "shape": [3, 3], "data": rows}
    wanted = {"inputs": [tensor], "outputs": [{"name": "output", "parameters": {"classification": 1}}]}
    assert http.post("/v2/models/shapes/infer", json=wanted).json["outputs"][0]["data"][2].endswith(":1:red")


def test_every_label_is_evaluated(http: FlaskClient, trained: Json) -> None:
    x, y = make_rows()
    evaluation = http.get(trained["links"]["evaluation"]).json
    report, metrics = evaluation["labels"], trained["metrics"]["test"]

    assert [one["label"] for one in report["labels"]] == NAMES
    assert (evaluation["classification"], evaluation["regression"]) == (None, None)
    assert metrics["accuracy"] == pytest.approx(report["accuracy"], abs=1e-5)
    assert report["exact"] <= report["accuracy"]

    answers = http.post("/api/v1/models/shapes/predictions", json={"instances": x.tolist()}).json["predictions"]
    probabilities = np.array(
        [[{p["label"]: p["probability"] for p in one["probabilities"]}[name] for name in NAMES] for one in answers]
    )
    _, recall, _, _ = precision_recall_fscore_support(y, probabilities >= 0.5)
    assert [one["recall"] for one in report["labels"]] == pytest.approx(recall, abs=0.1)
    assert metrics["auc"] == pytest.approx(roc_auc_score(y, probabilities), abs=0.03)


def test_a_batch_prediction_has_a_column_for_each_label(
    http: FlaskClient,
    worker: InProcessWorker,
    trained: Json,  # noqa: ARG001
) -> None:
    answer = http.post(
        "/api/v1/models/shapes/batch-predictions", data={"file": (io.BytesIO(b"2,2,2\n-2,-2,-2\n"), "rows.csv")}
    )
    worker.run_all()

    path = f"/api/v1/jobs/{answer.json['id']}/predictions"
    table = list(csv.DictReader(io.StringIO(http.get(f"{path}.csv").text)))
    lines = [json.loads(line) for line in http.get(f"{path}.jsonl").text.splitlines()]
    assert [set(filter(None, row["labels"].split(";"))) for row in table] == [set(NAMES), set()]
    assert float(table[0]["red"]) == pytest.approx(
        {p["label"]: p["probability"] for p in lines[0]["probabilities"]}["red"]
    )


@pytest.mark.parametrize(
    ("path", "value", "pointer", "detail"),
    [
        ("network.layers.1.activation", "softmax", "#/training/loss", "several labels"),
        ("network.layers.1.activation", "linear", "#/network/layers/1", "activation: sigmoid"),
        ("training.class_weight", "balanced", "#/training/class_weight", "one class for each row"),
    ],
)
def test_what_does_not_fit_several_labels_is_refused(
    http: FlaskClient, path: str, value: str, pointer: str, detail: str
) -> None:
    x, y = make_rows()
    upload_dataset(http, npz(x=x, y=y), "shapes")
    spec = changed(SHAPES, path, value)
    if value == "linear":
        spec = changed(spec, "training.loss", "binary_crossentropy")

    answer = http.post("/api/v1/jobs", json=spec)

    (error,) = assert_problem(answer, 422, "invalid-request")["errors"]
    assert error["pointer"].startswith(pointer)
    assert detail in error["detail"]


def test_one_hot_labels_of_a_softmax_are_classes_with_any_loss(http: FlaskClient, worker: InProcessWorker) -> None:
    x, _ = make_rows()
    assert upload_dataset(http, npz(x=x, y=np.eye(3)[x.argmax(axis=1)]), "shapes").status_code == 201
    spec = changed(changed(SHAPES, "network.layers.1.activation", "softmax"), "training.loss", "mse")
    submit(http, changed(spec, "training.metrics", ["accuracy"]))
    worker.run_all()

    version = http.get("/api/v1/models/shapes/versions/1").json
    answer = http.post("/api/v1/models/shapes/predictions", json={"instances": [[-2.0, 2.0, -2.0]]}).json

    assert (version["classes"], answer["predictions"][0]["label"]) == (["0", "1", "2"], "1")
    assert version["metrics"]["test"]["accuracy"] > 0.8
