"""Test trainings from the submitted spec to the published version or to the error."""

import io
from typing import Any

import h5py
import numpy as np
import pytest
from flask.testing import FlaskClient
from tensorflow.python.framework import config as tensorflow_config

from shared.errors import InternalError
from tests.support.examples import DIGITS, IRIS, LINE, XOR, Json, changed
from tests.support.jobs import submit, train
from tests.support.worker import InProcessWorker

HUGE_LAYERS = [
    {"layer": "UpSampling2D", "size": 2000},
    {"layer": "GlobalAveragePooling2D"},
    *DIGITS["network"]["layers"],
]
"""Layers whose output takes one gigabyte for each image."""


SMALL_EMBEDDING = [
    {"layer": "Embedding", "input_dim": 1, "output_dim": 4},
    {"layer": "Flatten"},
    {"layer": "Dense", "units": 1, "activation": "sigmoid"},
]
"""Layers that look up the rows 0 and 1 of a table with one row. Only the data show it."""


def test_a_training_publishes_a_version(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, DIGITS)

    assert (job["status"], job["version"], job["attempt"], job["error"]) == ("succeeded", 1, 1, None)
    version = http.get("/api/v1/models/digits/versions/1").json
    assert job["metrics"] == version["metrics"]
    assert {name for name, path in job["links"].items() if http.get(path).status_code == 200} == {
        *("self", "events", "log", "metrics", "curves", "version", "evaluation")
    }
    assert version["metrics"]["test"]["accuracy"] > 0.5
    assert version["parameters"] == 650
    assert version["classes"] == list("0123456789")
    assert version["lineage"]["job"] == job["id"]
    assert version["lineage"]["dataset"]["rows"] == {"train": 180, "validation": 20, "test": 359}
    assert version["signature"]["inputs"][0]["shape"] == [-1, 8, 8, 1]
    assert [file["name"] for file in version["files"]] == [
        "evaluation.json",
        "model.keras",
        "model.onnx",
        "model.weights.h5",
        "test_answers.npz",
        "test_images.npz",
        "version.json",
    ]


def test_progress_and_epochs_are_reported(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, DIGITS)

    progress = job["progress"]
    assert (progress["epoch"], progress["epochs"], progress["batch"], progress["batches"]) == (2, 2, 6, 6)
    assert (progress["percent"], progress["seconds_left"]) == (100, 0)
    epochs = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert set(epochs[0]["metrics"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert epochs[0]["learning_rate"] == pytest.approx(0.01)


def test_each_training_of_a_model_is_a_new_version(http: FlaskClient, worker: InProcessWorker) -> None:
    numbers = [train(http, worker, DIGITS)["version"] for _ in range(2)]

    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("loss", "units"),
    [
        ("sparse_categorical_crossentropy", 10),
        ("categorical_crossentropy", 10),
        ("SparseCategoricalCrossentropy", 10),
        ("mse", 10),
        (None, 10),
    ],
)
def test_labels_are_encoded_as_the_loss_needs_them(
    http: FlaskClient, worker: InProcessWorker, loss: str | None, units: int
) -> None:
    spec = changed(changed(DIGITS, "training.loss", loss), "network.layers.1.units", units)

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    assert http.get("/api/v1/models/digits/versions/1").json["metrics"]["test"]["accuracy"] > 0.3


def test_a_classifier_of_a_table_is_trained(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)

    version = http.get("/api/v1/models/iris/versions/latest").json
    assert version["metrics"]["test"]["accuracy"] >= 0.9
    assert version["classes"] == ["setosa", "versicolor", "virginica"]
    assert len(version["preprocessing"]["normalisation"]["offset"]) == 4


def test_a_regression_fits_a_line(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, LINE)

    answer = http.post("/api/v1/models/line/predictions", json={"instances": [10, [20]]}).json

    values = [prediction["value"] for prediction in answer["predictions"]]
    assert values == pytest.approx([8.6667, 16.1667], rel=0.01)


def test_two_classes_need_only_one_output(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, XOR)

    answer = http.post("/api/v1/models/xor/predictions?top=2", json={"instances": [[0, 1]]}).json

    first, second = answer["predictions"][0]["top"]
    assert {first["label"], second["label"]} == {"0", "1"}
    assert first["probability"] + second["probability"] == pytest.approx(1)
    assert first["probability"] >= second["probability"]


def test_the_same_seed_gives_the_same_weights(http: FlaskClient, worker: InProcessWorker) -> None:
    for seed in (1, 1, 2):
        train(http, worker, changed(IRIS, "training.seed", seed))

    answers = [
        http.post(f"/api/v1/models/iris/versions/{number}/predictions", json={"instances": [[5.8, 3, 4, 1.2]]}).json[
            "predictions"
        ]
        for number in (1, 2, 3)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_a_schedule_changes_the_learning_rate(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(changed(DIGITS, "training.learning_rate_schedule", {"name": "CosineDecay"}), "training.epochs", 3)

    job = train(http, worker, spec)

    rates = [row["learning_rate"] for row in http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]]
    assert rates == pytest.approx([0.0075, 0.0025, 0], abs=1e-6)


def test_class_weights_change_the_learnt_probability(http: FlaskClient, worker: InProcessWorker) -> None:
    """Train on ten equal rows, one of them of class 1: the probability of class 1 is its weighted share."""
    rows = {"x": [[1]] * 10, "y": [0] * 9 + [1]}
    spec = changed(changed(XOR, "dataset", {"inline": rows, "validation": {"split": 0}}), "training.epochs", 100)
    spec = changed(spec, "training.optimizer", {"name": "Adam", "learning_rate": 0.1})

    for class_weight in (None, "balanced", {"1": 81.0}):
        train(http, worker, changed(spec, "training.class_weight", class_weight))

    probabilities = []
    for number in (1, 2, 3):
        path = f"/api/v1/models/xor/versions/{number}/predictions?top=2"
        top = http.post(path, json={"instances": [[1]]}).json["predictions"][0]["top"]
        probabilities.append(next(entry["probability"] for entry in top if entry["label"] == "1"))
    assert probabilities == pytest.approx([0.1, 0.5, 0.9], abs=0.03)


def test_early_stopping_publishes_the_best_epoch(http: FlaskClient, worker: InProcessWorker) -> None:
    stopping = {"monitor": "val_loss", "patience": 2, "restore_best": True}
    spec = changed(changed(DIGITS, "training.early_stopping", stopping), "training.epochs", 200)

    job = train(http, worker, changed(spec, "training.optimizer", {"name": "SGD", "learning_rate": 2.0}))

    version = http.get("/api/v1/models/digits/versions/1").json
    rows = http.get(f"/api/v1/jobs/{job['id']}/metrics?limit=200").json["epochs"]
    losses = [row["metrics"]["val_loss"] for row in rows]
    assert version["epochs"] == {"asked": 200, "trained": len(rows), "kept": 1 + losses.index(min(losses))}
    assert version["epochs"]["kept"] == len(rows) - 2
    assert version["metrics"]["validation"]["loss"] == min(losses)


@pytest.mark.parametrize("metric", ["AUC", "F1Score", "KLDivergence", "FalsePositives", "MeanIoU"])
def test_every_metric_can_choose_the_best_epoch(http: FlaskClient, worker: InProcessWorker, metric: str) -> None:
    name = {"AUC": "auc", "F1Score": "f1_score", "KLDivergence": "kldivergence"}.get(metric)
    monitor = "val_" + (name or {"FalsePositives": "false_positives", "MeanIoU": "mean_io_u"}[metric])
    spec = changed(changed(DIGITS, "training.metrics", [metric]), "training.keep", {"best": monitor})
    spec = changed(spec, "training.reduce_lr_on_plateau", {"monitor": monitor, "patience": 1})

    job = train(http, worker, changed(spec, "training.early_stopping", {"monitor": monitor, "patience": 3}))

    assert job["status"] == "succeeded", job["error"]


def test_the_learning_rate_is_reduced_on_a_plateau(http: FlaskClient, worker: InProcessWorker) -> None:
    plateau = {"monitor": "loss", "min_delta": 100, "patience": 2, "factor": 0.5, "min_lr": 0.01}
    spec = changed(changed(XOR, "training.reduce_lr_on_plateau", plateau), "training.epochs", 8)

    job = train(http, worker, changed(spec, "training.optimizer", {"name": "SGD", "learning_rate": 0.03}))

    rows = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]
    rates = [row["learning_rate"] for row in rows]
    assert rates == pytest.approx([0.03, 0.03, 0.03, 0.015, 0.015, 0.01, 0.01, 0.01])
    assert "learning_rate" not in job["metrics"]["last_epoch"]


def test_no_epochs_publish_the_untrained_network(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, changed(changed(DIGITS, "training.epochs", 0), "training.keep", {"best": "val_loss"}))

    assert (job["status"], job["error"]) == ("succeeded", None)
    version = http.get("/api/v1/models/digits/versions/1").json
    assert version["epochs"] == {"asked": 0, "trained": 0, "kept": 0}
    assert all(version["metrics"][part]["accuracy"] < 0.4 for part in ("train", "validation", "test"))
    assert version["metrics"]["last_epoch"] is None
    assert "curves" not in job["links"]
    assert http.get(job["links"]["evaluation"]).status_code == 200
    image = [[0] * 8] * 8
    assert len(http.post("/api/v1/models/digits/predictions", json={"instances": [image]}).json["predictions"]) == 1


def test_a_version_is_evaluated_on_other_data_without_training(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)
    again = {**DIGITS, "network": {"from": "digits@1"}, "training": {"epochs": 0}}

    job = train(http, worker, again)

    first, second = (http.get(f"/api/v1/models/digits/versions/{number}").json for number in (1, 2))
    assert (job["status"], second["epochs"]["trained"]) == ("succeeded", 0)
    assert second["metrics"]["test"] == pytest.approx(first["metrics"]["test"], abs=1e-6)
    assert second["weights_digest"] == first["weights_digest"]


def test_keep_best_publishes_the_best_epoch(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(changed(DIGITS, "training.keep", {"best": "val_accuracy"}), "training.epochs", 8)

    job = train(http, worker, changed(spec, "training.optimizer", {"name": "SGD", "learning_rate": 3.0}))

    version = http.get("/api/v1/models/digits/versions/1").json
    rows = http.get(f"/api/v1/jobs/{job['id']}/metrics").json["epochs"]
    accuracies = [row["metrics"]["val_accuracy"] for row in rows]
    assert version["epochs"] == {"asked": 8, "trained": 8, "kept": 1 + accuracies.index(max(accuracies))}
    assert version["metrics"]["validation"]["accuracy"] == max(accuracies) > accuracies[-1]


def test_deterministic_mode_repeats_the_weights_and_ends_with_the_job(
    http: FlaskClient, worker: InProcessWorker
) -> None:
    layers = [{"layer": "Conv2D", "filters": 8, "kernel_size": 3}, {"layer": "Dropout", "rate": 0.5}]
    spec = changed(DIGITS, "network.layers", layers + DIGITS["network"]["layers"])
    for _ in range(2):
        train(http, worker, changed(spec, "training.deterministic", value=True))

    first, second = (http.get(f"/api/v1/models/digits/versions/{n}/files/model.weights.h5").data for n in (1, 2))
    assert read_arrays(first) == read_arrays(second)
    assert not tensorflow_config.is_op_determinism_enabled()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_publishes_float32_weights(http: FlaskClient, worker: InProcessWorker, precision: str) -> None:
    spec = changed(DIGITS, "training.epochs", 4)
    spec["network"]["layers"].insert(1, {"layer": "Dense", "units": 32, "activation": "relu"})

    jobs = [train(http, worker, changed(spec, "training.precision", value)) for value in ("float32", precision)]

    assert [job["status"] for job in jobs] == ["succeeded"] * 2, jobs
    exact, mixed = (http.get(f"/api/v1/models/digits/versions/{number}").json for number in (1, 2))
    assert (exact["precision"], mixed["precision"]) == ("float32", precision)
    assert mixed["metrics"]["test"]["accuracy"] > 0.6
    # Rounding leads to other weights. Equal weights would mean that the precision had no effect.
    assert mixed["weights_digest"] != exact["weights_digest"]
    weights = http.get("/api/v1/models/digits/versions/2/files/model.weights.h5").data
    with h5py.File(io.BytesIO(weights)) as file:
        dtypes: set[str] = set()
        file.visititems(lambda _, item: dtypes.add(str(item.dtype)) if isinstance(item, h5py.Dataset) else None)
    assert dtypes == {"float32"}


def read_arrays(weights_file: bytes) -> list[bytes]:
    """Return the content of every array in a weights file, at least one."""
    arrays: list[bytes] = []
    with h5py.File(io.BytesIO(weights_file)) as file:
        file.visititems(lambda _, item: arrays.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
    assert arrays
    return arrays


def test_the_service_answers_as_the_keras_file_does(http: FlaskClient, worker: InProcessWorker, tmp_path: Any) -> None:
    """Normalise a row as the version says, predict it with the Keras file, and compare the probabilities."""
    import keras

    train(http, worker, IRIS)
    path = tmp_path / "model.keras"
    path.write_bytes(http.get("/api/v1/models/iris/versions/1/files/model.keras").data)
    norm = http.get("/api/v1/models/iris/versions/1").json["preprocessing"]["normalisation"]
    row = np.array([[6.1, 2.9, 4.7, 1.4]], np.float32)

    answer = http.post("/api/v1/models/iris/predictions?top=3", json={"instances": row.tolist()}).json

    expected = keras.saving.load_model(path)((row - np.float32(norm["offset"])) / np.float32(norm["divisor"])).numpy()[
        0
    ]
    served = {entry["class"]: entry["probability"] for entry in answer["predictions"][0]["top"]}
    assert [served[index] for index in range(3)] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_weights_load_into_plain_keras(http: FlaskClient, worker: InProcessWorker, tmp_path: Any) -> None:
    import keras

    train(http, worker, IRIS)
    path = tmp_path / "model.weights.h5"
    path.write_bytes(http.get("/api/v1/models/iris/versions/1/files/model.weights.h5").data)
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    )

    network.load_weights(path)

    assert network.count_params() == http.get("/api/v1/models/iris/versions/1").json["parameters"]


@pytest.mark.parametrize(
    ("spec", "kind", "detail"),
    [
        (
            changed(changed(LINE, "training.optimizer", {"name": "SGD", "learning_rate": 1e6}), "training.epochs", 60),
            "loss-is-not-finite",
            "learning rate",
        ),
        (changed(DIGITS, "dataset.name", "mnist"), "dataset-unavailable", "mnist.npz"),
        (
            changed(changed(DIGITS, "network.layers", HUGE_LAYERS), "training.batch_size", 1000),
            "out-of-memory",
            "batch_size",
        ),
        (changed(XOR, "network.layers", SMALL_EMBEDDING), "network-does-not-fit", "is not in [0, 1)"),
        (
            changed(changed(DIGITS, "training.epochs", 100_000), "resources.max_minutes", 0.01),
            "time-limit-reached",
            "max_minutes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_training_names_a_remedy_and_the_worker_continues(
    http: FlaskClient, worker: InProcessWorker, spec: Json, kind: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    def fail_to_download() -> None:
        raise Exception("URL fetch failure: no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail_to_download)
    failed, following = submit(http, spec), submit(http, XOR)

    worker.run_all()

    job = http.get(f"/api/v1/jobs/{failed}").json
    assert job["status"] == "failed"
    assert job["error"]["type"] == f"/problems/{kind}"
    assert detail in job["error"]["detail"]
    assert http.get(f"/api/v1/jobs/{following}").json["status"] == "succeeded"


def test_an_unexpected_error_fails_the_job_without_details(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.datasets.splits.load_dataset", lambda *_: 1 / 0)

    job = train(http, worker, XOR)

    assert job["error"]["type"] == f"/problems/{InternalError.kind}"
    assert "division" not in job["error"]["detail"]


def test_a_wrong_onnx_export_is_not_published(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.training import export

    convert = export.convert_to_onnx
    monkeypatch.setattr(export, "convert_to_onnx", lambda network: convert(damage(network)))

    def damage(network: Any) -> Any:
        network.set_weights([weights + 0.5 for weights in network.get_weights()])
        return network

    job = train(http, worker, XOR)

    assert job["error"]["type"] == "/problems/export-disagrees"
    assert http.get("/api/v1/models/xor").status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("training", "precision", "is_tried"),
    [
        ({}, "float32", True),
        ({"deterministic": True}, "mixed_bfloat16", False),
        ({"precision": "mixed_bfloat16"}, "mixed_bfloat16", False),
    ],
    ids=["auto", "deterministic", "asked"],
)
def test_precisions_are_tried_where_the_choice_is_open(
    http: FlaskClient,
    worker: InProcessWorker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    training: Json,
    precision: str,
    *,
    is_tried: bool,
) -> None:
    """The processor seems to have instructions for bfloat16, and float32 wins each trial."""
    from worker.training import precision as precisions  # it imports TensorFlow

    monkeypatch.setattr(precisions, "has_fast_bfloat16", lambda _: True)
    monkeypatch.setattr(precisions, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(precisions, "MIN_TRIED_PRODUCTS", 0)
    monkeypatch.setattr(precisions, "MIN_GAIN", float("inf"))

    with caplog.at_level("INFO"):
        job = train(http, worker, {**DIGITS, "training": {**DIGITS["training"], **training}})

    assert job["status"] == "succeeded", job["error"]
    assert http.get("/api/v1/models/digits/versions/1").json["precision"] == precision
    assert ("s in mixed_bfloat16" in caplog.text) is is_tried
