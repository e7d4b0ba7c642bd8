"""Test that every metric of the catalog is right for every kind of labels, or refused."""

from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.errors import InvalidRequest
from shared.networks.metrics import list_metric_names, make_metrics, name_metric
from shared.networks.objectives import Objective
from shared.spec.training import MetricSpec
from tests.support.examples import IRIS, Json, changed
from tests.support.jobs import show_job
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

REQUIRED: dict[str, Json] = {
    "IoU": {"target_class_ids": [0]},
    "OneHotIoU": {"target_class_ids": [0]},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}
"""Arguments that a metric cannot be made without."""
CLASSIFIERS = [
    Objective("sparse_categorical_crossentropy", ("a", "b", "c"), 3, activation="softmax"),
    Objective("categorical_crossentropy", ("a", "b", "c"), 3, activation="softmax"),
    Objective("binary_crossentropy", ("a", "b", "c"), 3, activation="sigmoid"),
    Objective("mean_squared_error", ("a", "b", "c"), 3, activation="softmax"),
    Objective("binary_crossentropy", ("a", "b"), 1, activation="sigmoid"),
    Objective("mean_squared_error", ("a", "b"), 1, activation="sigmoid"),
    Objective("sparse_categorical_crossentropy", ("a", "b"), 2, activation="softmax"),
]
ROWS = 200


def draw(objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices (n,) and outputs (n, width) that are right more often than not."""
    random = np.random.default_rng(0)
    indices = random.integers(0, len(objective.classes), ROWS)
    scores = random.random((ROWS, len(objective.classes))) + 0.5 * np.eye(len(objective.classes))[indices]
    outputs = scores / scores.sum(axis=1, keepdims=True)
    return indices, (outputs[:, 1:] if objective.width == 1 else outputs).astype(np.float32)


def compute(metric: Any, labels: np.ndarray, outputs: np.ndarray) -> float:
    metric.reset_state()
    metric.update_state(labels[:50], outputs[:50])
    metric.update_state(labels[50:], outputs[50:])
    value = np.asarray(metric.result())
    assert value.shape == ()
    return float(value)


@pytest.mark.parametrize("objective", CLASSIFIERS, ids=lambda objective: f"{objective.loss}-{objective.width}")
def test_every_metric_of_the_catalog_is_that_of_one_hot_labels(objective: Objective) -> None:
    indices, outputs = draw(objective)
    labels = objective.encode_labels(indices)
    probabilities = np.hstack([1 - outputs, outputs]) if objective.width == 1 else outputs
    one_hot = np.eye(len(objective.classes), dtype=np.float32)[indices]
    decided = probabilities.argmax(axis=1)
    for name in list_metric_names():
        if "Correlation" in name and objective.width == 1:
            with pytest.raises(InvalidRequest):
                make_metrics([name], objective)
            continue
        (metric,) = make_metrics([MetricSpec(name=name, **REQUIRED.get(name, {}))], objective)
        value = compute(metric, labels, outputs)
        assert vars(metric)["_direction"] in ("up", "down")  # otherwise it cannot choose the best epoch

        arguments = dict(REQUIRED.get(name, {}))
        if "IoU" in name and name != "BinaryIoU":
            arguments["num_classes"] = len(objective.classes)
        if name in ("F1Score", "FBetaScore"):
            arguments |= {"average": "macro"} | ({"threshold": 0.5} if objective.width == 1 else {})
        plain = getattr(keras.metrics, name)(**arguments)
        if name in ("Accuracy", "IoU", "MeanIoU"):
            expected = compute(plain, indices, decided)
        elif name.startswith("Sparse"):
            expected = compute(plain, indices, probabilities)
        elif objective.width == 1 and "Categorical" not in name and "OneHot" not in name:
            expected = compute(plain, indices[:, np.newaxis].astype(np.float32), outputs)
        else:
            expected = compute(plain, one_hot, probabilities)
        assert value == pytest.approx(expected, abs=1e-5), name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mse", "MeanSquaredError"),
        ("MSE", "MeanSquaredError"),
        ("mean_squared_error", "MeanSquaredError"),
        ("categorical_accuracy", "CategoricalAccuracy"),
        ("auc", "AUC"),
        ("AUC", "AUC"),
        ("f1_score", "F1Score"),
        ("top_k_categorical_accuracy", "TopKCategoricalAccuracy"),
        ("mean_iou", "MeanIoU"),
    ],
)
def test_metrics_are_found_by_class_and_by_function(name: str, kind: str) -> None:
    (metric,) = make_metrics([name], CLASSIFIERS[1])

    assert type(metric).__name__ in (kind, "AdaptedMetric")
    assert name_metric(metric) == ("auc" if name == "AUC" else name)


@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_metrics_of_classes_are_refused_for_numbers(activation: str) -> None:
    objective = Objective("mean_squared_error", (), 2, activation=activation)
    random = np.random.default_rng(0)
    labels, outputs = random.integers(0, 2, (ROWS, 2)).astype(np.float32), random.random((ROWS, 2)).astype(np.float32)
    refused = set()
    for name in list_metric_names():
        try:
            (metric,) = make_metrics([MetricSpec(name=name, **REQUIRED.get(name, {}))], objective)
        except InvalidRequest:
            refused.add(name)
        else:
            compute(metric, labels, outputs)

    assert {"CategoricalAccuracy", "SparseCategoricalAccuracy", "MeanIoU"} <= refused
    assert not refused & {"MeanSquaredError", "R2Score", "CosineSimilarity", "RootMeanSquaredError"}
    assert ("AUC" in refused, "Precision" in refused) == ((True, True) if activation == "linear" else (False, False))


@pytest.mark.parametrize(
    ("metrics", "pointer", "words"),
    [
        (["acuracy"], "#/training/metrics/0", "Did you mean 'accuracy'?"),
        (["accuracy", "accuracy"], "#/training/metrics/1", "occurs twice"),
        ([{"name": "F1Score", "average": None}], "#/training/metrics/0/average", "Use `macro`"),
        ([{"name": "AUC", "from_logits": True}], "#/training/metrics/0/from_logits", "follows from the network"),
        ([{"name": "Precision", "class_id": 7}], "#/training/metrics/0/class_id", "7 is no output"),
        ([{"name": "Precision", "klass": 1}], "#/training/metrics/0/klass", "has no argument 'klass'"),
        ([{"name": "PrecisionAtRecall"}], "#/training/metrics/0", "recall"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_metrics_that_do_not_fit_are_refused_at_the_post(
    http: FlaskClient, metrics: list[Any], pointer: str, words: str
) -> None:
    answer = http.post("/api/v1/jobs", json=changed(IRIS, "training.metrics", metrics))

    problem = assert_problem(answer, 422, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert words in problem["errors"][0]["detail"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_reports_metrics_with_arguments(http: FlaskClient, worker: InProcessWorker) -> None:
    metrics = [
        "categorical_accuracy",
        {"name": "F1Score", "average": "weighted"},
        {"name": "Precision", "class_id": 0},
        {"name": "Precision", "class_id": 1},
        "mse",
    ]
    spec = changed(changed(IRIS, "training.metrics", metrics), "training.keep", {"best": "val_precision_2"})
    spec["training"]["loss"] = {"name": "categorical_crossentropy", "label_smoothing": 0.1}

    job = http.post("/api/v1/jobs", json=spec).json
    worker.run_all()

    assert show_job(http, job["id"])["status"] == "succeeded"
    version = http.get("/api/v1/models/iris/versions/1").json
    measured = version["metrics"]["test"]
    assert set(measured) == {"loss", "categorical_accuracy", "f1_score", "precision", "precision_2", "mse"}
    evaluation = http.get("/api/v1/models/iris/versions/1/evaluation").json["classification"]
    assert measured["categorical_accuracy"] == pytest.approx(evaluation["accuracy"], abs=1e-5)
    assert version["lineage"]["spec"]["training"]["metrics"] == metrics


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_network_of_logits_gets_an_activation_for_its_predictions(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(IRIS, "network.layers.1", {"layer": "Dense", "units": 3})
    spec["training"]["loss"] = {"name": "sparse_categorical_crossentropy", "from_logits": True}

    http.post("/api/v1/jobs", json=spec)
    worker.run_all()

    version = http.get("/api/v1/models/iris/versions/1").json
    answer = http.post("/api/v1/models/iris/predictions?top=3", json={"instances": [[5.1, 3.5, 1.4, 0.2]]}).json
    layers = http.get("/api/v1/models/iris/versions/1/layers").json["layers"]
    assert version["metrics"]["test"]["accuracy"] > 0.8
    assert sum(best["probability"] for best in answer["predictions"][0]["top"]) == pytest.approx(1, abs=1e-5)
    assert layers[-1]["type"] == "Activation"


@pytest.mark.parametrize(
    ("path", "value", "pointer", "words"),
    [
        ("network.layers.1.units", 1, "#/network/layers/1", "Use `activation: sigmoid` for one output"),
        ("training.optimizer.lr", 0.1, "#/training/optimizer/lr", "It is called `learning_rate`"),
        ("training.optimizer.decay", 0.1, "#/training/optimizer/decay", "learning_rate_schedule"),
        (
            "training.loss",
            {"name": "sparse_categorical_crossentropy", "from_logits": True},
            "#/training/loss/from_logits",
            "ends in `softmax`",
        ),
        (
            "training.loss",
            {"name": "mse", "from_logits": True},
            "#/training/loss/from_logits",
            "for a crossentropy",
        ),
        ("training.loss", {"name": "mse", "reduction": "sum"}, "#/training/loss/reduction", "Remove it"),
        ("training.loss", {"name": "huber", "delta": "x"}, "#/training/loss/delta", "must be a number"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_does_nothing_or_cannot_be_right_is_refused(
    http: FlaskClient, path: str, value: object, pointer: str, words: str
) -> None:
    answer = http.post("/api/v1/jobs", json=changed(IRIS, path, value))

    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]


@pytest.mark.parametrize("labels", [[1, 2, 3], [-1, 1], [5, 10]])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_inline_labels_behave_as_uploaded_ones(http: FlaskClient, worker: InProcessWorker, labels: list[int]) -> None:
    x = [[float(index == place) for place in range(len(labels))] for index in range(len(labels))] * 10
    spec = {
        "model": "inline",
        "dataset": {"inline": {"x": x, "y": labels * 10}},
        "network": {"layers": [{"layer": "Dense", "units": len(labels), "activation": "softmax"}]},
        "training": {"epochs": 30, "optimizer": {"name": "Adam", "learning_rate": 0.3}},
    }

    http.post("/api/v1/jobs", json=spec)
    worker.run_all()

    answer = http.post("/api/v1/models/inline/predictions", json={"instances": x[: len(labels)]}).json
    assert [found["label"] for found in answer["predictions"]] == list(map(str, labels))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_metrics_of_the_training_part_are_those_of_the_kept_weights(
    http: FlaskClient, worker: InProcessWorker
) -> None:
    spec = changed(changed(IRIS, "training.epochs", 3), "training.keep", {"best": "loss"})
    http.post("/api/v1/jobs", json=spec)
    worker.run_all()

    metrics = http.get("/api/v1/models/iris/versions/1").json["metrics"]

    assert set(metrics["train"]) == set(metrics["last_epoch"]) == {"loss", "accuracy"}
    assert metrics["train"]["loss"] < metrics["last_epoch"]["loss"]
