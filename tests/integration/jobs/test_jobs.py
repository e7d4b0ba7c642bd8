"""Test how clients submit, list, cancel and follow jobs. Few of these tests train a network."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect

from api.services import EXTENSION
from shared.database.engine import Sessions
from shared.database.pagination import Page
from shared.database.tables.jobs import JobStatus
from shared.devices import Device
from shared.jobs import lifecycle, queries
from shared.jobs.events import EpochReport
from tests.support.examples import DIGITS, XOR, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.waiting import wait_for
from tests.support.worker import InProcessWorker, RecordingNotifier


def submit(http: FlaskClient, spec: Json = XOR, key: str | None = None) -> Json:
    answer = http.post("/api/v1/jobs", json=spec, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 202, answer.text
    job: Json = json.loads(answer.data)
    return job


def test_a_submitted_job_is_queued_and_a_worker_is_notified(http: FlaskClient, notifier: RecordingNotifier) -> None:
    answer = http.post(
        "/api/v1/jobs", json=changed(XOR, "tags", {"course": "2026-fall"}) | {"notes": "as in chapter 7"}
    )

    job = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/api/v1/jobs/{job['id']}")
    assert (job["status"], job["place"], job["attempt"], job["version"]) == ("queued", 1, 0, None)
    assert (job["tags"], job["notes"]) == ({"course": "2026-fall"}, "as in chapter 7")
    assert job["created_at"].endswith("Z")
    assert notifier.notified == [Device.AUTO]
    assert http.get(answer.headers["Location"]).json == job


def test_a_spec_may_be_yaml(http: FlaskClient) -> None:
    yaml = "model: xor\ndataset: {inline: {x: [1, 2], y: [1, 2]}}\nnetwork: {layers: [{layer: Dense, units: 1}]}"

    answer = http.post("/api/v1/jobs", data=yaml, content_type="application/yaml")

    assert answer.status_code == 202


def test_a_dry_run_returns_the_plan_and_queues_nothing(http: FlaskClient, notifier: RecordingNotifier) -> None:
    spec = changed(DIGITS, "training.batch_size", 50)

    answer = http.post("/api/v1/jobs?dry_run=true", json=spec)

    plan = answer.json
    assert answer.status_code == 200
    assert plan["layers"][1] == {
        "name": "dense",
        "type": "Dense",
        "output_shape": [10],
        "parameters": 650,
        "trainable_parameters": 650,
    }
    assert (plan["parameters"], plan["input_shape"], plan["loss"]) == (
        650,
        [8, 8, 1],
        "sparse_categorical_crossentropy",
    )
    assert (plan["rows"], plan["steps_per_epoch"]) == ({"train": 180, "validation": 20, "test": 359}, 4)
    assert http.get("/api/v1/jobs").json["jobs"] == []
    assert notifier.notified == []


def test_the_same_idempotency_key_returns_the_same_job(http: FlaskClient) -> None:
    first = submit(http, key="k1")
    again = submit(http, key="k1")
    other = submit(http, key="k2")

    assert first["id"] == again["id"] != other["id"]
    assert len(http.get("/api/v1/jobs").json["jobs"]) == 2


def test_an_idempotency_key_with_another_spec_is_refused(http: FlaskClient) -> None:
    submit(http, key="k1")

    answer = http.post("/api/v1/jobs", json=changed(XOR, "training.epochs", 3), headers={"Idempotency-Key": "k1"})

    assert_problem(answer, 422, "idempotency-key-reused")


def test_concurrent_requests_with_the_same_key_create_one_job(app: Flask) -> None:
    def submit_one(_: int) -> str:
        return str(submit(app.test_client(), key="k1")["id"])

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(submit_one, range(16)))

    assert len(ids) == 1


def test_jobs_are_listed_newest_first_page_by_page(http: FlaskClient) -> None:
    submitted = [submit(http)["id"] for _ in range(5)]

    listed: list[str] = []
    address: str | None = "/api/v1/jobs?limit=2"
    while address is not None:
        page = http.get(address).json
        listed += [job["id"] for job in page["jobs"]]
        address = f"/api/v1/jobs?limit=2&cursor={page['next']}" if page["next"] is not None else None

    assert listed == submitted[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("model=digits", ["digits"]),
        ("status=queued", ["digits", "xor"]),
        ("status=failed", []),
        ("tag=course", ["xor"]),
        ("tag=course:2026-fall", ["xor"]),
        ("tag=course:2025-fall", []),
    ],
)
def test_jobs_are_filtered_by_model_status_and_tag(http: FlaskClient, query: str, found: list[str]) -> None:
    submit(http, changed(XOR, "tags", {"course": "2026-fall"}))
    submit(http, DIGITS)

    assert [job["model"] for job in http.get(f"/api/v1/jobs?{query}").json["jobs"]] == found


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=lost", "cursor=x", "page=2", "model=A"])
def test_an_invalid_query_is_refused(http: FlaskClient, query: str) -> None:
    answer = http.get(f"/api/v1/jobs?{query}")

    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")


def test_the_place_follows_priority_and_age(http: FlaskClient) -> None:
    first = submit(http)
    urgent = submit(http, changed(XOR, "resources.priority", 5))
    last = submit(http)

    places = [http.get(f"/api/v1/jobs/{job['id']}").json["place"] for job in (first, urgent, last)]

    assert places == [2, 1, 3]


def test_jobs_for_another_device_do_not_count_in_the_place(http: FlaskClient) -> None:
    submit(http, changed(XOR, "resources.device", "gpu"))
    job = submit(http, changed(XOR, "resources.device", "cpu"))

    assert job["place"] == 1


def test_a_worker_does_not_claim_a_job_for_another_device(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http, changed(XOR, "resources.device", "gpu"))

    assert worker.run_next() is None
    assert http.get(f"/api/v1/jobs/{job['id']}").json["status"] == "queued"


def test_a_queued_job_is_cancelled_at_once(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http)

    answer = http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    assert (answer.status_code, answer.json["status"], answer.json["place"]) == (200, "cancelled", None)
    assert answer.json["ended_at"] is not None
    assert worker.run_next() is None


def test_a_running_job_becomes_cancelling(http: FlaskClient, sessions: Sessions) -> None:
    job = submit(http)
    with sessions.begin() as session:
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)

    answers = [http.post(f"/api/v1/jobs/{job['id']}/cancellation") for _ in range(2)]

    assert [(answer.status_code, answer.json["status"]) for answer in answers] == [(202, "cancelling")] * 2


def test_an_ended_job_cannot_be_cancelled(http: FlaskClient) -> None:
    job = submit(http)
    http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    answer = http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    assert_problem(answer, 409, "job-has-ended")


def test_a_training_stops_when_its_job_is_cancelled(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http, changed(DIGITS, "training.epochs", 10_000))

    def cancel_once_it_runs() -> None:
        wait_for(lambda: http.get(f"/api/v1/jobs/{job['id']}").json["progress"] is not None)
        http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    canceller = threading.Thread(target=cancel_once_it_runs)
    canceller.start()
    worker.run_next()
    canceller.join()

    assert http.get(f"/api/v1/jobs/{job['id']}").json["status"] == "cancelled"
    assert http.get("/api/v1/models/digits").status_code == 404


@pytest.mark.parametrize("path", ["", "/metrics", "/events"])
def test_an_unknown_job_is_not_found(http: FlaskClient, path: str) -> None:
    answer = http.get(f"/api/v1/jobs/{uuid4()}{path}")

    assert_problem(answer, 404, "job-not-found")


@pytest.mark.parametrize("path", ["/api/v1/jobs/7", "/api/v1/nothing", "/api/v1/jobs/../jobs"])
def test_an_unknown_path_is_answered_with_a_problem(http: FlaskClient, path: str) -> None:
    answer = http.get(path)

    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_the_callers_request_id_is_kept(http: FlaskClient) -> None:
    answer = http.get("/api/v1/nothing", headers={"X-Request-ID": "from-the-proxy-7"})

    assert answer.json["request_id"] == answer.headers["X-Request-ID"] == "from-the-proxy-7"


def test_the_event_stream_holds_every_event_and_ends_with_the_job(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http)
    worker.run_next()

    stream = http.get(f"/api/v1/jobs/{job['id']}/events")

    assert stream.content_type == "text/event-stream"
    events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in stream.text.strip().split("\n\n")]
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    kinds = [event["event"] for event in events]
    assert (kinds[:2], kinds[-1], kinds.count("epoch")) == (["status", "status"], "status", 2)
    assert '"status": "succeeded"' in events[-1]["data"]
    assert '"version": 1' in events[-1]["data"]


def test_the_event_stream_resumes_after_the_last_event_id(http: FlaskClient) -> None:
    job = submit(http)
    http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    rest = http.get(f"/api/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "1"})
    nothing = http.get(f"/api/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "2"})

    assert rest.text.startswith("id: 2\nevent: status\n")
    assert nothing.status_code == 204


def test_the_event_stream_begins_after_the_events_that_the_job_document_has(http: FlaskClient) -> None:
    job = submit(http)
    assert job["last_event"] == 1
    ended = http.post(f"/api/v1/jobs/{job['id']}/cancellation").json
    path = f"/api/v1/jobs/{job['id']}/events"

    rest = http.get(path, query_string={"after": job["last_event"]})
    later = http.get(path, query_string={"after": 0}, headers={"Last-Event-ID": "1"})

    assert rest.text == later.text
    assert [line for line in rest.text.splitlines() if line.startswith("id")] == ["id: 2"]
    assert http.get(path, query_string={"after": ended["last_event"]}).status_code == 204
    assert http.get(path, query_string={"after": "-1"}).status_code == 422


def test_a_last_event_id_from_the_future_does_not_hide_new_events(app: Flask) -> None:
    http = app.test_client()
    job = submit(http)

    def listen() -> str:
        headers = {"Last-Event-ID": "2000000000"}
        return app.test_client().get(f"/api/v1/jobs/{job['id']}/events", headers=headers).text

    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(listen)
        wait_for(lambda: bool(app.extensions[EXTENSION].feeds._feeds))
        http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    assert stream.result().startswith("id: 2\nevent: status\n")


def test_epoch_metrics_are_listed_page_by_page(http: FlaskClient, sessions: Sessions) -> None:
    job = submit(http)
    with sessions.begin() as session:
        claimed = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert claimed is not None
        reports = [EpochReport(epoch, 0.5, 0.01, {"loss": None}) for epoch in (1, 2, 3)]
        lifecycle.renew(session, claimed.id, claimed.attempt, 60, None, reports)

    first = http.get(f"/api/v1/jobs/{job['id']}/metrics?limit=2").json
    second = http.get(f"/api/v1/jobs/{job['id']}/metrics?limit=2&cursor={first['next']}").json

    assert [row["epoch"] for row in first["epochs"] + second["epochs"]] == [1, 2, 3]
    assert second["next"] is None
    assert http.get(f"/api/v1/jobs/{job['id']}").json["status"] == JobStatus.RUNNING


def test_epoch_metrics_are_columns_and_csv(http: FlaskClient, sessions: Sessions) -> None:
    job = submit(http)
    values: list[dict[str, float | None]] = [{"loss": None}, {"loss": 0.123456789, "=evil": 1.0}]
    values += [{"loss": 1 / epoch} for epoch in range(3, 41)]
    with sessions.begin() as session:
        claimed = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert claimed is not None
        reports = [EpochReport(epoch, 0.5, 0.01, metrics) for epoch, metrics in enumerate(values, 1)]
        lifecycle.renew(session, claimed.id, claimed.attempt, 60, None, reports)
    path = f"/api/v1/jobs/{job['id']}/metrics"

    columns, thinned = http.get(f"{path}/columns").json, http.get(f"{path}/columns?points=12").json
    table = http.get(f"{path}.csv")

    assert columns["epochs"] == list(range(1, 41))
    assert columns["metrics"]["loss"][:3] == [None, 0.123457, 0.333333]
    assert columns["metrics"]["=evil"][:3] == [None, 1.0, None]
    assert (columns["trained"], columns["last_event"]) == (40, http.get(f"/api/v1/jobs/{job['id']}").json["last_event"])
    assert (thinned["trained"], len(thinned["epochs"])) == (40, len(thinned["metrics"]["loss"]))
    assert {1, 3, 40} <= set(thinned["epochs"])
    rows = table.text.splitlines()
    assert (len(rows), rows[:3]) == (
        41,
        ["epoch,seconds,learning_rate,loss,'=evil", "1,0.5,0.01,,", "2,0.5,0.01,0.123456789,1.0"],
    )


def test_a_list_of_jobs_loads_no_specs_and_no_manifests(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    train(http, worker, changed(XOR, "notes", "mine"))

    with sessions() as session:
        [job] = queries.list_jobs(session, Page(10))

        assert "spec" in inspect(job).unloaded
        assert job.version is not None
        assert "manifest" in inspect(job.version).unloaded
    assert http.get("/api/v1/jobs").json["jobs"][0]["notes"] == "mine"


def list_ids(http: FlaskClient, **query: str) -> list[str]:
    return [job["id"] for job in http.get("/api/v1/jobs", query_string=query).json["jobs"]]


def test_jobs_are_found_by_several_filters(http: FlaskClient) -> None:
    first = submit(http, changed(XOR, "notes", "the Old one, 100%"))["id"]
    second = submit(http, changed(XOR, "model", "xor-2"))["id"]
    http.post(f"/api/v1/jobs/{first}/cancellation")

    assert list_ids(http, status="cancelled,failed") == [first]
    assert list_ids(http, status="cancelled,queued") == [second, first]
    assert list_ids(http, ids=f"{first},{second}", kind="training", owner="me") == [second, first]
    assert list_ids(http, ids=first, status="queued") == list_ids(http, owner="bora") == []
    assert list_ids(http, q="old ONE") == list_ids(http, q="100%") == list_ids(http, q=first[:13]) == [first]
    assert list_ids(http, q="xor-") == [second]
    assert list_ids(http, q="%") == [first]
    for query in ("status=asleep", "status=", "ids=1", "kind=dream", f"q={'a' * 201}"):
        assert http.get(f"/api/v1/jobs?{query}").status_code == 422, query


def test_notes_tags_and_priority_of_a_job_are_edited(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http, {**XOR, "notes": "first", "tags": {"course": "a", "week": "3"}})
    path = f"/api/v1/jobs/{job['id']}"

    edited = http.patch(path, json={"notes": "second", "tags": {"course": "b", "team": "x"}, "priority": 5}).json

    assert (edited["notes"], edited["tags"], edited["priority"]) == ("second", {"course": "b", "team": "x"}, 5)
    assert http.patch(path, json={"notes": ""}).json["tags"] == {"course": "b", "team": "x"}
    assert list_ids(http, tag="team:x") == [job["id"]]
    assert list_ids(http, tag="week") == []
    assert edited["spec"]["notes"] == "first"
    worker.run_all()
    assert http.patch(path, json={"tags": {}, "priority": 5}).json["tags"] == {}
    assert_problem(http.patch(path, json={"priority": 6}), 409, "job-has-started")
    assert http.patch(path, json={"status": "queued"}).status_code == 422
    assert_problem(http.patch(f"/api/v1/jobs/{uuid4()}", json={}), 404, "job-not-found")


def test_inline_data_over_a_mebibyte_are_refused(http: FlaskClient) -> None:
    rows = 150_000
    spec = changed(XOR, "dataset.inline", {"x": [[0, 1]] * rows, "y": [0, 1] * (rows // 2)})

    answer = http.post("/api/v1/jobs", data=json.dumps(spec, separators=(",", ":")), content_type="application/json")

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/dataset/inline")
    assert "the limit is 1,048,576. Upload" in answer.json["errors"][0]["detail"]
