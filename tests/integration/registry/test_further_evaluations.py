"""Test evaluations of versions on other rows than their test part."""

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.datasets.builtin import TEXTS
from tests.support.examples import DIGITS, IRIS, REVIEWS, Json, changed
from tests.support.jobs import show_job, train
from tests.support.problems import assert_problem
from tests.support.uploads import colors, zipped
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def evaluate(http: FlaskClient, worker: InProcessWorker, model: str, **body: Any) -> Json:
    """Evaluate version 1 of a model, and return the report."""
    answer = http.post(f"/api/v1/models/{model}/versions/1/evaluations", json=body)
    assert answer.status_code == 202, answer.text
    worker.run_all()
    job = show_job(http, answer.json["id"])
    assert job["status"] == "succeeded", job
    report: Json = json.loads(http.get(job["links"]["evaluation"]).data)
    return report


def upload(http: FlaskClient, name: str, content: bytes, **fields: str) -> Any:
    return http.post("/api/v1/datasets", data={"name": name, "file": (io.BytesIO(content), name), **fields})


def test_the_parts_of_the_training_have_the_metrics_that_the_training_measured(
    http: FlaskClient, worker: InProcessWorker
) -> None:
    train(http, worker, IRIS)
    metrics = http.get("/api/v1/models/iris/versions/1").json["metrics"]

    found = {part: evaluate(http, worker, "iris", part=part) for part in ("train", "validation", "test")}
    whole = evaluate(http, worker, "iris", part="all")

    for part, report in found.items():
        measured = report["evaluation"]["metrics"]
        assert measured == pytest.approx(metrics[part], abs=1e-5), part
    assert whole["evaluation"]["rows"] == 150
    assert sum(one["support"] for one in whole["evaluation"]["classification"]["classes"]) == 150
    listed = http.get("/api/v1/models/iris/versions/1/evaluations").json["evaluations"]
    assert [one["key"] for one in listed] == ["own.all", "own.test", "own.train", "own.validation"]


@on_sqlite
def test_an_evaluation_is_made_once_for_each_part_and_data_set(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)
    path = "/api/v1/models/iris/versions/1/evaluations"

    own, named = http.post(path, json={"part": "all"}), http.post(path, json={"dataset": "iris"})
    again, named_again = http.post(path, json={"part": "all"}), http.post(path, json={"dataset": "iris"})

    assert (own.status_code, named.status_code) == (202, 202)
    assert (again.status_code, again.json["id"]) == (200, own.json["id"])
    assert (named_again.status_code, named_again.json["id"]) == (200, named.json["id"])
    assert own.json["id"] != named.json["id"]


@on_sqlite
def test_another_upload_is_evaluated_with_its_classes_by_name(http: FlaskClient, worker: InProcessWorker) -> None:
    rows = (TEXTS / "reviews_english.csv").read_text().splitlines()
    positive_first = [rows[0], *sorted(rows[1:], key=lambda row: row.endswith("negative"))]
    upload(http, "all-reviews", "\n".join(positive_first).encode())
    only = [rows[0], *(row for row in rows[1:] if row.endswith("positive")), "a bad film,negative"]
    upload(http, "mostly-good", "\n".join(only).encode())
    train(http, worker, REVIEWS)

    every = evaluate(http, worker, "reviews", dataset="all-reviews")
    builtin = evaluate(http, worker, "reviews", dataset="reviews_english")
    good = evaluate(http, worker, "reviews", dataset="mostly-good@1")

    assert every["evaluation"]["metrics"] == pytest.approx(builtin["evaluation"]["metrics"], abs=1e-5)
    assert every["dataset"] == "all-reviews@1"
    assert [one["support"] for one in good["evaluation"]["classification"]["classes"]] == [1, 100]


@on_sqlite
def test_images_of_a_zip_with_parts_are_evaluated(http: FlaskClient, worker: InProcessWorker) -> None:
    members = {**colors(6, "train/"), **colors(3, "val/"), **colors(2, "test/")}
    upload(http, "colors", zipped(members))
    spec = changed(changed(DIGITS, "dataset", {"name": "colors"}), "preprocessing", {"size": [8, 8]})
    train(http, worker, changed(spec, "network.layers.1.units", 2))

    reports = [evaluate(http, worker, "digits", dataset="colors", part=part) for part in ("all", "validation", "test")]

    assert [report["evaluation"]["rows"] for report in reports] == [22, 6, 4]


@on_sqlite
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"dataset": "digits"}, "contains images"),
        ({"dataset": "breast_cancer"}, "numbers of shape [30]"),
        ({"part": "rest"}, "'train', 'validation', 'test' or 'all'"),
        ({"data": "iris"}, "Unknown key"),
    ],
)
def test_data_that_do_not_fit_are_refused(http: FlaskClient, worker: InProcessWorker, body: Json, detail: str) -> None:
    train(http, worker, IRIS)

    answer = http.post("/api/v1/models/iris/versions/1/evaluations", json=body)

    assert_problem(answer, 422, "invalid-request")
    assert detail in answer.json["errors"][0]["detail"]


@on_sqlite
def test_unknown_classes_data_sets_and_evaluations_are_named(http: FlaskClient, worker: InProcessWorker) -> None:
    table = "a,b,c,d,kind\n" + "\n".join(f"{n},1,2,3,{'setosa' if n % 2 else 'rose'}" for n in range(10))
    upload(http, "flowers", table.encode())
    train(http, worker, IRIS)
    path = "/api/v1/models/iris/versions/1/evaluations"

    unknown = http.post(path, json={"dataset": "flowers"})

    assert "the classes 'rose'" in unknown.json["errors"][0]["detail"]
    assert http.post(path, json={"dataset": "nothing"}).status_code == 404
    assert http.get(f"{path}/own.test").status_code == 404


@on_sqlite
def test_an_evaluation_of_no_rows_fails_clearly(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, changed(IRIS, "dataset.validation", {"split": 0}))

    answer = http.post("/api/v1/models/iris/versions/1/evaluations", json={"part": "validation"})
    worker.run_all()

    error = show_job(http, answer.json["id"])["error"]
    assert error["type"] == "/problems/dataset-does-not-fit"
    assert "no validation rows" in error["detail"]
