"""Test reproductions of versions, and the reuse of an equal training."""

import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

ADDRESS = "/api/v1/models/digits/versions/1/reproduction"


def test_a_deterministic_version_is_reproduced_exactly(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, changed(DIGITS, "training.deterministic", value=True))

    answer = http.post(ADDRESS)
    worker.run_all()

    assert (answer.status_code, answer.json["reproduces"]) == (202, {"model": "digits", "version": 1})
    job = http.get(answer.headers["Location"]).json
    assert (job["status"], job["version"]) == ("succeeded", None)
    assert job["reproduction"] == {
        "weights_equal": True,
        "data_equal": True,
        "metrics": {},
        "libraries": {},
        "precision": None,
    }
    assert http.get(ADDRESS).json == job
    assert len(http.get("/api/v1/models/digits/versions").json["versions"]) == 1


def test_a_reproduction_reports_the_differences(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(http, worker, DIGITS)
    monkeypatch.setattr("worker.training.job.version", lambda _: "0.1")
    monkeypatch.setattr("shared.datasets.splits._split", lambda whole, *_: (whole, whole))

    http.post(ADDRESS)
    worker.run_all()

    reproduction = http.get(ADDRESS).json["reproduction"]
    assert reproduction["weights_equal"] is False
    assert reproduction["data_equal"] is True
    assert reproduction["libraries"]["keras"]["again"] == "0.1"
    assert reproduction["metrics"]["test.loss"]["recorded"] != reproduction["metrics"]["test.loss"]["again"]


def test_a_version_that_was_not_reproduced_has_no_reproduction(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)

    answer = http.get(ADDRESS)

    assert_problem(answer, 404, "job-not-found")
    assert http.post("/api/v1/models/digits/versions/2/reproduction").status_code == 404


def test_an_equal_training_is_reused_once_it_has_succeeded(http: FlaskClient, worker: InProcessWorker) -> None:
    reusing = changed(DIGITS, "reuse", value=True)
    first = http.post("/api/v1/jobs", json=reusing)
    second = http.post("/api/v1/jobs", json=reusing)
    worker.run_all()

    answer = http.post("/api/v1/jobs", json=changed(reusing, "notes", "once more"))

    assert (first.status_code, second.status_code, answer.status_code) == (202, 202, 200)
    assert answer.json["id"] == second.json["id"]
    assert answer.json["version"] == 2
    assert http.post("/api/v1/jobs", json=changed(reusing, "training.seed", 7)).status_code == 202
    assert http.post("/api/v1/jobs", json=DIGITS).status_code == 202
