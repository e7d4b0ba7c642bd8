"""Test data sets that are uploaded, and trainings that use them."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.ingestion.client import Ingestor
from api.services import EXTENSION, Services
from shared.datasets import row_files
from shared.processes.pool import ProcessPool
from tests.support.examples import Json, changed
from tests.support.images import encoded, photo
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import BLUE, TABLE, colors, flat, npz, upload_dataset, zipped
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TRAIN_COLORS: Json = {
    "model": "colors",
    "dataset": {"name": "colors", "validation": {"split": 0.2}, "test": {"split": 0.2, "stratify": True}},
    "preprocessing": {"size": [8, 8]},
    "network": {
        "layers": [
            {"layer": "GlobalAveragePooling2D"},
            {"layer": "Dense", "units": 2, "activation": "softmax"},
        ]
    },
    "training": {"epochs": 40, "batch_size": 8, "optimizer": {"name": "Adam", "learning_rate": 0.1}},
}


@on_sqlite
def test_a_zip_of_image_folders_is_trained_and_served(http: FlaskClient, worker: InProcessWorker) -> None:
    answer = upload_dataset(http, zipped(colors(20)))
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].endswith("/api/v1/datasets/colors@1")

    job = train(http, worker, TRAIN_COLORS)

    assert job["status"] == "succeeded", job["error"]
    assert job["spec"]["dataset"]["name"] == "colors@1"
    version = http.get("/api/v1/models/colors/versions/1").json
    assert version["classes"] == ["blue", "red"]
    assert version["metrics"]["test"]["accuracy"] == 1
    assert version["lineage"]["dataset"] == {
        "name": "colors@1",
        "digest": answer.json["digest"],
        "rows": {"train": 26, "validation": 6, "test": 8},
    }
    predicted = http.post("/api/v1/models/colors/predictions", data=flat(BLUE), content_type="image/png").json
    assert predicted["predictions"][0]["label"] == "blue"


def test_a_table_with_named_labels_is_trained_and_served(http: FlaskClient, worker: InProcessWorker) -> None:
    answer = upload_dataset(http, TABLE.encode(), "shapes")
    assert (answer.json["columns"], answer.json["label"]) == (["width", "height"], "kind")
    spec = {
        "model": "shapes",
        "dataset": {"name": "shapes"},
        "network": {"layers": [{"layer": "Dense", "units": 2, "activation": "softmax"}]},
        "training": {"epochs": 60, "optimizer": {"name": "Adam", "learning_rate": 0.1}},
    }

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    predicted = http.post("/api/v1/models/shapes/predictions", json={"instances": [[6, 0], [0, 4]]}).json
    assert [prediction["label"] for prediction in predicted["predictions"]] == ["wide", "high"]


@on_sqlite
def test_class_numbers_need_not_start_at_0(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, b"a,y\n" + b"\n".join(b"%d,%d" % (n % 3, n % 3 + 1) for n in range(60)), "wine")
    spec = {
        "model": "wine",
        "dataset": {"name": "wine"},
        "network": {"layers": [{"layer": "Dense", "units": 3, "activation": "softmax"}]},
        "training": {"epochs": 100, "optimizer": {"name": "Adam", "learning_rate": 0.2}},
    }

    job = train(http, worker, spec)

    assert job["status"] == "succeeded", job["error"]
    predicted = http.post("/api/v1/models/wine/predictions", json={"instances": [[0], [2]]}).json
    assert [prediction["label"] for prediction in predicted["predictions"]] == ["1", "3"]


@on_sqlite
def test_classes_of_a_table_can_be_chosen(http: FlaskClient) -> None:
    upload_dataset(http, b"a,y\n" + b"\n".join(b"%d,%d" % (n, n % 3 + 1) for n in range(60)), "wine")
    spec = {
        "model": "wine",
        "dataset": {"name": "wine", "classes": [1, 3]},
        "network": {"layers": [{"layer": "Dense", "units": 1, "activation": "sigmoid"}]},
    }

    plan = http.post("/api/v1/jobs?dry_run=true", json=spec).json

    assert plan["rows"] == {"train": 36, "validation": 4, "test": 0}
    assert plan["classes"] == ["1", "3"]


def list_uploaded(http: FlaskClient) -> list[str]:
    """List the names of the data sets that are not built in."""
    return [found["name"] for found in http.get("/api/v1/datasets").json["datasets"] if not found["builtin"]]


def test_the_same_content_is_the_same_revision(http: FlaskClient) -> None:
    first, again, wrapped, other = (
        upload_dataset(http, zipped(members)) for members in (colors(), colors(), colors(folder="all/"), colors(7))
    )

    assert [answer.status_code for answer in (first, again, wrapped, other)] == [201, 200, 200, 201]
    assert [answer.json["revision"] for answer in (first, again, wrapped, other)] == [1, 1, 1, 2]
    listed = http.get("/api/v1/datasets/colors").json["revisions"]
    assert [revision["revision"] for revision in listed] == [2, 1]
    assert http.get("/api/v1/datasets/colors@1").json["revisions"] == [first.json]
    assert list_uploaded(http) == ["colors"]


def test_the_same_content_has_the_warnings_of_its_last_upload(http: FlaskClient) -> None:
    content = "도시,y\n1,서울\n2,부산\n".encode("cp949")

    guessed = upload_dataset(http, content, "cities").json["warnings"]
    stated = upload_dataset(http, content, "cities", encoding="cp949").json["warnings"]

    assert (len(guessed), stated) == (1, [])
    assert http.get("/api/v1/datasets/cities@1").json["revisions"][0]["warnings"] == []


def test_a_job_trains_on_the_revision_of_its_submission(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, zipped(colors(20)))
    job_id = http.post("/api/v1/jobs", json=TRAIN_COLORS).json["id"]
    upload_dataset(http, zipped({"green/1.png": flat((0, 200, 0)), **colors(20)}))

    worker.run_all()

    assert http.get(f"/api/v1/jobs/{job_id}").json["status"] == "succeeded"
    assert http.get("/api/v1/models/colors/versions/1").json["classes"] == ["blue", "red"]


@pytest.mark.parametrize("name", ["colors", "colors@2", "colors@x", "colors@"])
def test_an_unknown_data_set_is_refused_at_submission(http: FlaskClient, name: str) -> None:
    if "@" in name:
        upload_dataset(http, zipped(colors()))

    answer = http.post("/api/v1/jobs", json=changed(TRAIN_COLORS, "dataset.name", name))

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/dataset/name"
    assert http.get(f"/api/v1/datasets/{name}").status_code == 404


def test_images_of_different_sizes_need_a_size_in_the_spec(http: FlaskClient) -> None:
    upload_dataset(http, zipped(colors()))

    answer = http.post("/api/v1/jobs", json=changed(TRAIN_COLORS, "preprocessing.size", "data"))

    assert answer.json["errors"][0]["pointer"] == "#/preprocessing/size"


@on_sqlite
@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": "Colors"}, "#/name"),
        ({"name": "mnist"}, "#/name"),
        ({"task": "guess"}, "#/task"),
        ({"zork": "1"}, "#/zork"),
        ({"header": "perhaps"}, "#/header"),
        ({"label": "kind"}, "#/label"),
        ({"columns": "{age: "}, "#/columns"),
        ({"columns": "{age: .inf}"}, "#/columns/age"),
    ],
)
def test_an_invalid_form_field_is_refused(http: FlaskClient, fields: Json, pointer: str) -> None:
    answer = upload_dataset(http, zipped(colors()), **fields)

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


def test_a_refused_upload_creates_no_data_set(http: FlaskClient) -> None:
    answer = upload_dataset(http, zipped({**colors(), "red/broken.png": b"no"}))

    assert answer.status_code == 422
    assert answer.json["type"] == "/problems/dataset-refused"
    assert "red/broken.png" in answer.json["errors"][0]["detail"]
    assert list_uploaded(http) == []


@on_sqlite
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"%PDF-1.7", b"\x1f\x8b\x08\x00", b"\x00\x01\x02"])
def test_files_of_other_types_are_refused(http: FlaskClient, content: bytes) -> None:
    assert upload_dataset(http, content).status_code == 422


def test_an_upload_without_a_file_in_a_form_is_refused(http: FlaskClient) -> None:
    assert http.post("/api/v1/datasets", json={"name": "colors"}).status_code == 415
    assert http.post("/api/v1/datasets", data={"name": "colors"}).status_code == 415
    no_file = http.post("/api/v1/datasets", data={"name": "colors"}, content_type="multipart/form-data")
    assert no_file.status_code == 400


def test_an_upload_over_the_limit_is_refused(http: FlaskClient, app: Flask, ingestion_pool: ProcessPool) -> None:
    services: Services = app.extensions[EXTENSION]
    limits = dataclasses.replace(services.ingestor.limits, bytes=1000)
    app.extensions[EXTENSION] = dataclasses.replace(services, ingestor=Ingestor(limits, ingestion_pool))

    answer = upload_dataset(http, TABLE.encode() * 10)

    assert_problem(answer, 413, "request-too-large")


@on_sqlite
def test_arrays_train_the_same_from_memory_and_from_their_file(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare the metrics of standardised images, with and without resizing."""
    pixels = np.random.default_rng(5).integers(0, 255, (90, 12, 12), np.uint8)
    upload_dataset(
        http, npz(x_train=pixels[:70], y_train=np.arange(70) % 2, x_test=pixels[70:], y_test=np.arange(20) % 2)
    )
    spec = changed(TRAIN_COLORS, "dataset", {"name": "colors"})
    spec["training"]["epochs"] = 3
    spec["preprocessing"]["scale"] = "standardize"
    metrics = []
    for max_bytes in (row_files.MAX_BYTES_IN_MEMORY, 1000):
        monkeypatch.setattr(row_files, "MAX_BYTES_IN_MEMORY", max_bytes)
        for size in ([12, 12], [8, 8]):
            job = train(http, worker, changed(spec, "preprocessing.size", size))
            assert job["status"] == "succeeded", job["error"]
            number = job["version"]
            version = json.loads(http.get(f"/api/v1/models/colors/versions/{number}").data)
            metrics.append(version["metrics"])

    assert metrics[:2] == metrics[2:]


@on_sqlite
def test_photos_are_decoded_once_for_all_epochs_and_jobs(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    members: Any = {f"{kind}/{n}.jpg": encoded(photo(40 + n, 60), "JPEG") for kind in ("a", "b") for n in range(6)}
    upload_dataset(http, zipped(members))
    spec = changed(TRAIN_COLORS, "training.epochs", 3)
    assert train(http, worker, spec)["status"] == "succeeded"
    monkeypatch.setattr("worker.training.input.image_cache._decode", lambda *_: 1 / 0)

    assert train(http, worker, spec)["status"] == "succeeded"
    assert train(http, worker, changed(spec, "preprocessing.size", [9, 9]))["status"] == "failed"
