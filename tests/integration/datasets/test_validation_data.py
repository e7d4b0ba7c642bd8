"""Test trainings that another data set monitors."""

import zipfile

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import BLUE, RED, colors, flat, npz, upload_dataset, zipped
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ROWS: Json = {
    "model": "rows",
    "dataset": {"name": "rows", "validation": {"dataset": "others"}},
    "network": {"layers": [{"layer": "Dense", "units": 2, "activation": "softmax"}]},
    "training": {"epochs": 30, "optimizer": {"name": "Adam", "learning_rate": 0.1}, "keep": {"best": "val_accuracy"}},
}
TRAINING_CSV = b"a,b,y\n" + b"".join(b"%d,%d,%s\n" % (n % 2, n % 3, (b"no", b"yes")[n % 2]) for n in range(40))
OTHER_CSV = b"a,b,y\n1,0,yes\n1,2,yes\n0,1,no\n1,1,yes\n"


def test_all_rows_of_another_data_set_monitor_the_training(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, TRAINING_CSV, "rows")
    upload_dataset(http, OTHER_CSV, "others")

    assert http.post("/api/v1/jobs?dry_run=true", json=ROWS).json["rows"] == {"train": 40, "validation": 4, "test": 0}
    job = train(http, worker, ROWS)

    assert job["status"] == "succeeded", job["error"]
    assert job["spec"]["dataset"]["validation"] == {"dataset": "others@1"}
    assert job["metrics"]["validation"]["accuracy"] == 1


def test_an_unknown_class_is_refused(http: FlaskClient) -> None:
    upload_dataset(http, TRAINING_CSV, "rows")
    assert upload_dataset(http, b"a,b,y\n1,0,yes\n0,2,aye\n", "others").status_code == 201

    refused = http.post("/api/v1/jobs", json=ROWS)

    (error,) = assert_problem(refused, 422, "invalid-request")["errors"]
    assert error["pointer"] == "#/dataset/validation/dataset"
    assert "'aye'" in error["detail"]


def test_images_of_another_upload_are_resized_alike(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, zipped({**colors(20), **{f"green/{n}.png": flat((0, 200, 0)) for n in range(20)}}), "rows")
    members: dict[str | zipfile.ZipInfo, bytes] = {f"blue/{n}.png": flat(BLUE) for n in range(5)}
    members |= {f"red/{n}.png": flat(RED) for n in range(5)}
    upload_dataset(http, zipped(members), "others")
    layers = [{"layer": "Flatten"}, {"layer": "Dense", "units": 3, "activation": "softmax"}]
    spec = changed(changed(ROWS, "network.layers", layers), "preprocessing", {"size": [8, 8]})

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    assert job["metrics"]["validation"]["accuracy"] == 1  # red has index 2 in the training data, and 1 here


def test_labels_are_matched_by_name(http: FlaskClient, worker: InProcessWorker) -> None:
    x = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    y = (x > 0).astype(np.float32)
    upload_dataset(http, npz(x=x, y=y, classes=np.array(["right", "up"])), "rows")
    upload_dataset(http, npz(x=x[:50], y=y[:50, ::-1], classes=np.array(["up", "right"])), "others")
    spec = changed(changed(ROWS, "network.layers.0.activation", "sigmoid"), "training.keep", "last")

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    assert job["metrics"]["validation"]["accuracy"] > 0.95


def test_other_columns_and_other_fills_are_refused(http: FlaskClient) -> None:
    upload_dataset(http, b"a,b,y\n" + b"1,,no\n3,2,yes\n" * 10, "rows", columns='{"b": {"fill": 2}}')
    for content, fill, detail in (
        (b"b,a,y\n1,,no\n3,2,yes\n", '{"a": {"fill": 2}}', "'b', 'a'"),
        (b"a,b,y\n1,,no\n3,2,yes\n", '{"b": {"fill": 7}}', "filled with 7"),
    ):
        assert upload_dataset(http, content, "others", columns=fill).status_code == 201
        (error,) = assert_problem(http.post("/api/v1/jobs", json=ROWS), 422, "invalid-request")["errors"]
        assert (error["pointer"], detail in error["detail"]) == ("#/dataset/validation/dataset", True), error
    upload_dataset(http, b"a,b,y\n1,,no\n3,2,yes\n", "others", columns='{"b": {"fill": 2}}')
    assert http.post("/api/v1/jobs?dry_run=true", json=ROWS).status_code == 200


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"a,b,c,y\n1,2,3,yes\n1,2,4,no\n", "'a', 'b', 'c'"),
        (b"a,b,y\n1,2,1.5\n1,2,2.5\n", "numbers"),
        (npz(x=np.zeros((4, 8, 8), np.uint8), y=np.array([0, 1, 0, 1])), "images with 1 channels"),
    ],
)
def test_other_data_of_another_form_are_refused(http: FlaskClient, content: bytes, detail: str) -> None:
    upload_dataset(http, TRAINING_CSV, "rows")
    assert upload_dataset(http, content, "others").status_code == 201

    (error,) = assert_problem(http.post("/api/v1/jobs", json=ROWS), 422, "invalid-request")["errors"]

    assert error["pointer"] == "#/dataset/validation/dataset"
    assert detail in error["detail"]


def test_an_unknown_data_set_is_named(http: FlaskClient) -> None:
    upload_dataset(http, TRAINING_CSV, "rows")

    (error,) = assert_problem(http.post("/api/v1/jobs", json=ROWS), 422, "invalid-request")["errors"]

    assert (error["pointer"], "'others'" in error["detail"]) == ("#/dataset/validation/dataset", True)


def test_whole_numbers_monitor_a_regression(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, b"a,y\n" + b"".join(b"%d,%.1f\n" % (n, n / 2) for n in range(20)), "rows")
    upload_dataset(http, b"a,y\n2,1\n4,2\n8,4\n", "others")
    spec = changed(changed(ROWS, "network.layers", [{"layer": "Dense", "units": 1}]), "training", {"epochs": 2})

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    assert job["metrics"]["validation"]["loss"] > 0


def test_data_that_monitor_a_training_are_kept(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, TRAINING_CSV, "rows")
    upload_dataset(http, OTHER_CSV, "others")
    submitted = http.post("/api/v1/jobs", json=ROWS)
    assert submitted.status_code == 202
    assert_problem(http.delete("/api/v1/datasets/others"), 409, "dataset-in-use")

    worker.run_all()
    assert_problem(http.delete("/api/v1/datasets/others@1"), 409, "dataset-in-use")

    assert http.delete("/api/v1/datasets/others@1?versions=keep").status_code == 204
