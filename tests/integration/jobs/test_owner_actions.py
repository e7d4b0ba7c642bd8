"""Test what owners do with their jobs (stop, retry, queue limits), and the order in which owners are served."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from api.access.owners import Owners
from api.services import EXTENSION
from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.jobs import Job
from shared.devices import Device
from shared.errors import OutOfMemory
from shared.jobs import lifecycle, workers
from shared.jobs.events import EpochReport
from tests.support.examples import DIGITS, KEEP_BEST, XOR, Json, changed
from tests.support.jobs import get_weights_digest, interrupt_after, show_job, submit, train
from tests.support.problems import assert_problem
from tests.support.waiting import wait_for
from tests.support.worker import InProcessWorker
from worker.process.usage import UsageMeter

LONG = changed(DIGITS, "training.epochs", 20_000)
OWNER = "X-Forwarded-User"


@pytest.fixture
def app_with_owners(app: Flask) -> Flask:
    """Provide the API with owners read from the header X-Forwarded-User, and at most 3 queued jobs for each owner."""
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], owners=Owners(OWNER, max_queued=3))
    return app


def submit_as(http: FlaskClient, owner: str, spec: Json = XOR, key: str | None = None) -> Json:
    headers = {OWNER: owner, **({"Idempotency-Key": key} if key else {})}
    answer = http.post("/api/v1/jobs", json=spec, headers=headers)
    assert answer.status_code == 202, answer.text
    job: Json = json.loads(answer.data)
    return job


def claim(sessions: Sessions, max_running: int | None = None) -> Job | None:
    with sessions.begin() as session:
        return lifecycle.claim(session, "worker-1", [Device.AUTO], 60, max_running)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "spec",
    [LONG, changed(LONG, "training.early_stopping", {"patience": 20_000})],
    ids=["without early stopping", "with early stopping"],
)
def test_a_stopped_training_publishes_its_weights(http: FlaskClient, worker: InProcessWorker, spec: Json) -> None:
    job_id = submit(http, spec)
    answers = []

    def stop_once_it_runs() -> None:
        wait_for(lambda: show_job(http, job_id)["progress"] is not None)
        answers.append(http.post(f"/api/v1/jobs/{job_id}/stop"))

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    worker.run_next()
    stopper.join()

    assert (answers[0].status_code, answers[0].json["status"]) == (202, "stopping")
    job = show_job(http, job_id)
    assert (job["status"], job["version"]) == ("succeeded", 1)
    epochs = http.get("/api/v1/models/digits/versions/1").json["epochs"]
    assert 0 < epochs["trained"] < 20_000


def test_a_job_that_has_not_trained_cannot_be_stopped(http: FlaskClient) -> None:
    answer = http.post(f"/api/v1/jobs/{submit(http, XOR)}/stop")

    assert_problem(answer, 409, "job-not-started")


@pytest.mark.usefixtures("one_step_in_a_call")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_queued_job_with_a_checkpoint_stops_once_it_is_claimed(http: FlaskClient, worker: InProcessWorker) -> None:
    job_id = submit(http, KEEP_BEST)
    interrupt_after(worker, 10).run_next()

    answer = http.post(f"/api/v1/jobs/{job_id}/stop")
    worker.run_all()

    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert show_job(http, job_id)["status"] == "succeeded"
    assert http.get("/api/v1/models/best/versions/1").json["epochs"]["trained"] == 2


@pytest.mark.usefixtures("one_step_in_a_call")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_retry_continues_from_the_checkpoint(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, KEEP_BEST)
    job_id = submit(http, KEEP_BEST)
    interrupt_after(worker, 17).run_next()
    http.post(f"/api/v1/jobs/{job_id}/cancellation")

    answer = http.post(f"/api/v1/jobs/{job_id}/retry")
    again = http.post(f"/api/v1/jobs/{job_id}/retry")

    assert (answer.status_code, again.status_code) == (201, 200)
    assert answer.json["id"] == again.json["id"] != job_id
    assert (answer.json["retry_of"], answer.json["checkpoint_epoch"]) == (job_id, 2)
    rows = http.get(f"/api/v1/jobs/{answer.json['id']}/metrics").json["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    worker.run_all()
    assert show_job(http, answer.json["id"])["status"] == "succeeded"
    assert get_weights_digest(http, "best", 2) == get_weights_digest(http, "best", 1)


def test_a_retry_can_start_from_the_beginning(http: FlaskClient) -> None:
    job_id = submit(http, XOR)
    http.post(f"/api/v1/jobs/{job_id}/cancellation")

    answer = http.post(f"/api/v1/jobs/{job_id}/retry?from=start")

    assert (answer.status_code, answer.json["checkpoint_epoch"], answer.json["spec"]["model"]) == (201, 0, "xor")


@pytest.mark.parametrize("status", ["queued", "running"])
def test_an_unfinished_job_cannot_be_retried(http: FlaskClient, sessions: Sessions, status: str) -> None:
    job_id = submit(http, XOR)
    if status == "running":
        claim(sessions)

    answer = http.post(f"/api/v1/jobs/{job_id}/retry")

    assert_problem(answer, 409, "job-cannot-be-retried")
    assert status in answer.json["detail"]


@pytest.mark.parametrize("owners", [(50, 5, 1)])
def test_many_jobs_of_one_owner_do_not_delay_other_owners(
    http: FlaskClient, sessions: Sessions, app: Flask, owners: tuple[int, ...]
) -> None:
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], owners=Owners(OWNER, max_queued=100))
    for number, count in enumerate(owners):
        for _ in range(count):
            submit_as(http, f"owner-{number}")

    served = []
    while (job := claim(sessions)) is not None:
        served.append(job.owner)
        with sessions.begin() as session:
            lifecycle.fail(session, job.id, job.attempt, OutOfMemory(""))

    assert served[:6] == ["owner-0", "owner-1", "owner-2", "owner-0", "owner-1", "owner-0"]
    assert len(served) == sum(owners)


def test_the_owner_with_fewer_running_jobs_is_served_first(app_with_owners: Flask, sessions: Sessions) -> None:
    http = app_with_owners.test_client()
    for _ in range(3):
        submit_as(http, "ada")
    claim(sessions)
    claim(sessions)
    submit_as(http, "bob")
    submit_as(http, "bob")

    served = [job.owner for job in (claim(sessions), claim(sessions)) if job is not None]

    assert served == ["bob", "bob"]


def test_the_place_follows_the_order_in_which_owners_are_served(app_with_owners: Flask) -> None:
    http = app_with_owners.test_client()
    of_ada = [submit_as(http, "ada") for _ in range(3)]
    of_bob = submit_as(http, "bob")
    urgent = submit_as(http, "bob", changed(XOR, "resources.priority", 9))

    places = [show_job(http, job["id"])["place"] for job in (*of_ada, of_bob, urgent)]

    assert places == [2, 4, 5, 3, 1]
    queue = http.get("/api/v1/queue").json
    assert [job["id"] for job in queue["jobs"]] == [
        urgent["id"],
        of_ada[0]["id"],
        of_bob["id"],
        of_ada[1]["id"],
        of_ada[2]["id"],
    ]
    assert [job["place"] for job in queue["jobs"]] == [1, 2, 3, 4, 5]
    assert [job["reason"] for job in queue["jobs"]] == ["priority", "age", "age", "turn", "turn"]
    first = http.get("/api/v1/queue?limit=1").json
    assert (len(first["jobs"]), first["total"], first["jobs"][0]["turn"]) == (1, 5, 1)


def test_the_queue_counts_only_jobs_that_the_same_device_runs(http: FlaskClient, sessions: Sessions) -> None:
    devices = ("gpu", "cpu", "gpu", "auto")
    ids = [submit(http, changed(XOR, "resources.device", device)) for device in devices]
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == UUID(ids[2])).values(scheduled_at=now(60)))

    queued = http.get("/api/v1/queue").json["jobs"]

    assert [job["place"] for job in queued] == [1, 1, 2, 4]
    assert [show_job(http, job)["place"] for job in ids] == [1, 1, 2, 4]
    assert (queued[2]["reason"], queued[2]["ready_at"] is not None) == ("delayed", True)


def test_the_running_jobs_of_an_owner_are_limited(app_with_owners: Flask, sessions: Sessions) -> None:
    http = app_with_owners.test_client()
    submit_as(http, "ada")
    submit_as(http, "ada")
    submit_as(http, "bob")

    served = [claim(sessions, max_running=1) for _ in range(3)]

    assert [job.owner if job is not None else None for job in served] == ["ada", "bob", None]


def test_a_job_over_the_queue_limit_is_refused_with_the_limit(app_with_owners: Flask) -> None:
    http = app_with_owners.test_client()
    for key in ("k1", None, None):
        submit_as(http, "ada", key=key)

    refused = http.post("/api/v1/jobs", json=XOR, headers={OWNER: "ada"})

    assert_problem(refused, 429, "too-many-jobs")
    assert "MAX_QUEUED_PER_OWNER" in refused.json["detail"]
    assert "3" in refused.json["detail"]
    assert submit_as(http, "ada", key="k1")["place"] == 1  # a repeated request is no new job
    assert submit_as(http, "bob")["owner"] == "bob"


def test_the_queue_limit_holds_for_concurrent_requests(app_with_owners: Flask) -> None:
    def submit_one(_: int) -> int:
        return app_with_owners.test_client().post("/api/v1/jobs", json=XOR, headers={OWNER: "ada"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(submit_one, range(12)))

    assert statuses == [202] * 3 + [429] * 9


def test_an_idempotency_key_belongs_to_one_owner(app_with_owners: Flask) -> None:
    http = app_with_owners.test_client()

    assert submit_as(http, "ada", key="k1")["id"] != submit_as(http, "bob", key="k1")["id"]


@pytest.mark.parametrize("owner", ["", " ", "a" * 256, "a\x7fb"])
def test_an_owner_that_cannot_be_read_is_not_anonymous(app_with_owners: Flask, owner: str) -> None:
    answer = app_with_owners.test_client().post("/api/v1/jobs", json=XOR, headers={OWNER: owner})

    assert answer.status_code == 422
    assert OWNER in answer.json["detail"]


def test_the_owner_header_is_ignored_unless_it_is_configured(http: FlaskClient) -> None:
    assert submit_as(http, "ada")["owner"] == "anonymous"


def test_the_time_to_start_is_estimated_from_similar_jobs(http: FlaskClient, sessions: Sessions) -> None:
    first = submit(http, XOR)
    assert show_job(http, first)["seconds_to_start"] is None  # no worker, and no ended job to estimate from
    with sessions.begin() as session:
        workers.record_heartbeat(session, "worker-1", "host", ("cpu",))
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert job is not None
        lifecycle.finish_reproduction(session, job.id, job.attempt, {})
        session.execute(update(Job).where(Job.id == job.id).values(started_at=now(-20), ended_at=now(-10)))
    running, second, third = (submit(http, XOR) for _ in range(3))
    claim(sessions)
    with sessions.begin() as session:
        lifecycle.renew(session, UUID(running), 1, 60, {"seconds_left": 7.0}, [])

    shown = [show_job(http, job) for job in (second, third)]

    assert [job["seconds_to_start"] for job in shown] == [7, 17]
    queued = http.get("/api/v1/queue").json["jobs"]
    estimates = ("seconds_to_start", "seconds_to_start_range")
    assert [[job[key] for key in estimates] for job in queued] == [[job[key] for key in estimates] for job in shown]
    # The end of a running job is uncertain by a quarter, the duration of a single earlier job by a factor of two.
    assert [job["seconds_to_start_range"] for job in shown] == [[6, 9], [11, 29]]


def test_the_duration_of_another_model_tells_nothing_about_the_wait(http: FlaskClient, sessions: Sessions) -> None:
    with sessions.begin() as session:
        workers.record_heartbeat(session, "worker-1", "host", ("cpu",))
    submit(http, XOR)
    with sessions.begin() as session:
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert job is not None
        lifecycle.finish_reproduction(session, job.id, job.attempt, {})
    submit(http, {**XOR, "model": "another"})
    last = submit(http, {**XOR, "model": "another"})

    shown = show_job(http, last)

    assert (shown["place"], shown["seconds_to_start"], shown["seconds_to_start_range"]) == (2, None, None)
    assert [job["seconds_to_start"] for job in http.get("/api/v1/queue").json["jobs"]] == [0, None]


def test_workers_are_listed_with_their_state_and_job(http: FlaskClient, sessions: Sessions) -> None:
    job_id = submit(http, XOR)
    with sessions.begin() as session:
        for name in ("worker-1", "worker-2", "worker-3"):
            workers.record_heartbeat(session, name, "host", ("cpu",), UsageMeter().measure())
    with sessions.begin() as session:
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        workers.record_exit(session, "worker-3")

    shown = {worker["name"]: worker for worker in http.get("/api/v1/workers").json["workers"]}

    assert [shown[f"worker-{number}"]["state"] for number in (1, 2, 3)] == ["training", "idle", "ended"]
    assert (shown["worker-1"]["job"], shown["worker-1"]["devices"]) == (job_id, ["cpu"])
    usage = shown["worker-2"]["usage"]
    assert 0 < usage["memory_used"] < usage["memory_total"]
    assert (0 <= usage["cpu_percent"] <= 100, usage["cpus"] >= 1) == (True, True)


def test_a_worker_without_a_recent_heartbeat_has_vanished(http: FlaskClient, sessions: Sessions) -> None:
    from shared.database.tables.jobs import WorkerProcess

    with sessions.begin() as session:
        workers.record_heartbeat(session, "worker-1", "host", ("gpu", "cpu"))
    with sessions.begin() as session:
        session.execute(update(WorkerProcess).values(heartbeat_at=now(-60)))

    (worker,) = http.get("/api/v1/workers").json["workers"]

    assert (worker["state"], worker["ended_at"]) == ("vanished", None)


def test_an_idempotency_key_expires_after_a_day(http: FlaskClient, sessions: Sessions) -> None:
    first = submit_as(http, "ada", key="k1")
    with sessions.begin() as session:
        session.execute(update(Job).values(created_at=now(-25 * 3600)))

    assert submit_as(http, "ada", changed(XOR, "training.epochs", 3), key="k1")["id"] != first["id"]


def test_curves_go_back_to_the_checkpoint_with_the_next_attempt(http: FlaskClient, sessions: Sessions) -> None:
    job_id = UUID(submit(http, XOR))
    claim(sessions)
    with sessions.begin() as session:
        lifecycle.renew(session, job_id, 1, 60, None, [EpochReport(epoch, 1, 1, {"loss": 1}) for epoch in (1, 2, 3)])
        session.execute(update(Job).values(checkpoint_epoch=2))
        lifecycle.hand_back(session, job_id, 1)

    claim(sessions)

    rows = http.get(f"/api/v1/jobs/{job_id}/metrics").json["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
