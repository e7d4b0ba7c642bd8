"""Test candidates: versions without a number, from their training to their publication."""

import threading
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.examples import IRIS, Json, changed
from tests.support.jobs import show_job, train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

ROWS = {"instances": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}
CANDIDATE = {**IRIS, "publish": False}


@pytest.fixture
def candidate(http: FlaskClient, worker: InProcessWorker) -> Json:
    """Provide the job of a candidate."""
    job = train(http, worker, CANDIDATE)
    assert job["status"] == "succeeded", job["error"]
    return job


def ask(http: FlaskClient, path: str) -> Any:
    return http.post(f"/api/v1/models/{IRIS['model']}{path}", json=ROWS)


def test_a_candidate_has_no_number_and_nothing_serves_it(http: FlaskClient, candidate: Json) -> None:
    model = f"/api/v1/models/{IRIS['model']}"

    assert (candidate["version"], candidate["candidate"]) == (None, True)
    assert candidate["links"]["version"] == f"{model}/versions/{candidate['id']}"
    assert candidate["metrics"]["test"]["accuracy"] > 0.5
    assert http.get("/api/v1/models").json["models"] == []
    assert_problem(http.get(model), 404, "model-not-found")
    for reference in ("", "/versions/latest", "/versions/1"):
        assert ask(http, f"{reference}/predictions").status_code == HTTPStatus.NOT_FOUND
    assert http.get("/v2/models").json in ({"models": []}, [])
    assert http.get(f"/ui/jobs/{candidate['id']}").text.count('data-act="publication"') == 1


def test_a_candidate_is_named_by_its_job(http: FlaskClient, candidate: Json) -> None:
    path = candidate["links"]["version"]
    shown = http.get(path).json
    answer = ask(http, f"/versions/{candidate['id']}/predictions")

    assert (shown["version"], shown["aliases"]) == (None, [])
    assert shown["metrics"] == candidate["metrics"]
    (weights,) = [file for file in shown["files"] if file["name"] == "model.keras"]
    assert len(http.get(weights["href"]).data) == weights["size"]
    assert http.get(f"{path}/evaluation").json["rows"] > 0
    assert http.get(f"{path}/confusion.svg").status_code in (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
    assert http.get(f"{path}/self-test").json["passed"]
    assert answer.json["version"] is None
    assert answer.headers["Trainyard-Version"] == f"{IRIS['model']}/{candidate['id']}"
    missing = "00000000-0000-0000-0000-000000000000"
    assert_problem(ask(http, f"/versions/{missing}/predictions"), 404, "version-not-found")


def test_a_candidate_is_published_once_and_only_then_served(
    http: FlaskClient, worker: InProcessWorker, candidate: Json
) -> None:
    train(http, worker, changed(IRIS, "training.seed", 7))
    before = ask(http, f"/versions/{candidate['id']}/predictions").json["predictions"]
    first = ask(http, "/predictions").json
    published = http.post(f"/api/v1/jobs/{candidate['id']}/publication")
    again = http.post(f"/api/v1/jobs/{candidate['id']}/publication")
    served = ask(http, "/predictions").json

    assert first["version"] == 1
    assert (published.status_code, published.json["version"], published.json["candidate"]) == (201, 2, False)
    assert (again.status_code, again.json["version"]) == (200, 2)
    assert (served["version"], served["predictions"]) == (2, before)
    assert ask(http, f"/versions/{candidate['id']}/predictions").json["version"] == 2
    model = http.get(f"/api/v1/models/{IRIS['model']}").json
    assert (model["latest"], model["versions"]) == (2, 2)
    assert [one["version"] for one in http.get(f"/api/v1/models/{IRIS['model']}/versions").json["versions"]] == [2, 1]


def test_only_the_form_of_the_api_names_a_job(http: FlaskClient, candidate: Json) -> None:
    for text in (candidate["id"].upper(), f"----{candidate['id'].replace('-', '')}"):
        assert ask(http, f"/versions/{text}/predictions").status_code == HTTPStatus.NOT_FOUND
    alias = http.put(
        f"/api/v1/models/{IRIS['model']}/aliases/abcdefab-cdef-abcd-efab-cdefabcdefab", json={"version": 1}
    )
    assert_problem(alias, 422, "invalid-request")


def test_many_publications_at_once_give_one_number(http: FlaskClient, candidate: Json) -> None:
    answers: list[tuple[int, int]] = []

    def publish() -> None:
        answer = http.application.test_client().post(f"/api/v1/jobs/{candidate['id']}/publication")
        answers.append((answer.status_code, answer.json["version"]))

    threads = [threading.Thread(target=publish) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [(200, 1)] * 9 + [(201, 1)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/exports", {"format": "h5"}),
        ("/evaluations", {"part": "test"}),
        ("/baselines", None),
        ("/reproduction", None),
    ],
)
def test_what_needs_a_number_says_so(http: FlaskClient, candidate: Json, path: str, body: Json | None) -> None:
    refused = http.post(f"{candidate['links']['version']}{path}", json=body)

    assert (
        f"/api/v1/jobs/{candidate['id']}/publication" in assert_problem(refused, 409, "version-not-published")["detail"]
    )


def test_a_training_starts_from_a_candidate(http: FlaskClient, worker: InProcessWorker, candidate: Json) -> None:
    base = f"{IRIS['model']}@{candidate['id']}"
    spec = {key: value for key, value in IRIS.items() if key != "network"}
    job = train(http, worker, {**spec, "model": "tuned", "network": {"from": base}})

    assert (job["status"], job["version"]) == ("succeeded", 1)
    assert job["spec"]["network"]["from"] == base


def test_a_candidate_is_deleted_by_its_job(http: FlaskClient, candidate: Json) -> None:
    deleted = http.delete(candidate["links"]["version"])

    assert deleted.status_code == HTTPStatus.NO_CONTENT
    assert show_job(http, candidate["id"])["candidate"] is False
    assert_problem(http.post(f"/api/v1/jobs/{candidate['id']}/publication"), 404, "version-not-found")


def test_a_candidate_goes_with_its_job(http: FlaskClient, candidate: Json) -> None:
    files = http.get(candidate["links"]["version"]).json["files"]

    assert http.delete(f"/api/v1/jobs/{candidate['id']}").status_code == HTTPStatus.NO_CONTENT
    assert_problem(http.get(candidate["links"]["version"]), 404, "version-not-found")
    assert http.get(files[0]["href"]).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("_", range(3))
def test_of_a_publication_and_a_deletion_one_wins(http: FlaskClient, candidate: Json, _: int) -> None:
    path = f"/api/v1/jobs/{candidate['id']}"
    answers: list[int] = []

    def call(method: str, address: str) -> None:
        answers.append(http.application.test_client().open(address, method=method).status_code)

    calls = [("POST", f"{path}/publication"), ("DELETE", path)]
    threads = [threading.Thread(target=call, args=one) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) in ([201, 409], [204, 404])


def test_a_job_without_a_version_publishes_nothing(http: FlaskClient) -> None:
    queued = http.post("/api/v1/jobs", json=CANDIDATE).json

    refused = http.post(f"/api/v1/jobs/{queued['id']}/publication")

    assert "queued" in assert_problem(refused, 404, "version-not-found")["detail"]


def test_specs_from_before_have_the_same_digest(http: FlaskClient, worker: InProcessWorker) -> None:
    trained = train(http, worker, IRIS)
    same = http.post("/api/v1/jobs", json={**IRIS, "publish": True, "reuse": True})
    other = http.post("/api/v1/jobs", json={**CANDIDATE, "reuse": True})

    assert "publish" not in trained["spec"]
    assert (same.status_code, same.json["id"]) == (HTTPStatus.OK, trained["id"])
    assert other.status_code == HTTPStatus.ACCEPTED
