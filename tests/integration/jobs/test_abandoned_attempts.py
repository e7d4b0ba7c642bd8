"""Test that a job ends in time although its attempt is inside of a step that takes minutes."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shared.database.tables.jobs import Job, JobKind
from shared.errors import TimeLimitReached
from tests.support.examples import DIGITS
from tests.support.waiting import wait_for
from tests.support.worker import InProcessWorker
from worker import lease as leases
from worker.context import WorkerContext
from worker.lease import Lease
from worker.runner import JOB_KINDS, run_next_job


@pytest.fixture
def job_id(http: FlaskClient) -> str:
    answer = http.post("/api/v1/jobs", json=DIGITS)
    return str(answer.json["id"])


@pytest.fixture
def ended(worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Provide an event in place of the end of the process. The times of the lease are fractions of a second."""
    monkeypatch.setattr(leases, "ABANDON_SECONDS", 0.3)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.1)
    ended = threading.Event()
    worker.context = dataclasses.replace(worker.context, end_process=ended.set)
    yield ended
    ended.set()


def test_a_cancelled_attempt_inside_of_a_step_is_abandoned(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, job_id: str, ended: threading.Event
) -> None:
    monkeypatch.setitem(JOB_KINDS, JobKind.TRAINING, lambda *_: ended.wait(30))

    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(run_next_job, worker.context)
        wait_for(lambda: http.get(f"/api/v1/jobs/{job_id}").json["status"] == "running")
        http.post(f"/api/v1/jobs/{job_id}/cancellation")
        attempt.result()

    assert ended.is_set()
    assert http.get(f"/api/v1/jobs/{job_id}").json["status"] == "cancelled"


def test_an_attempt_that_passes_its_time_limit_inside_of_a_step_is_abandoned(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, job_id: str, ended: threading.Event
) -> None:
    def run(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:  # noqa: ARG001
        with lease.limit_time(time.monotonic(), TimeLimitReached("It took too long.")):
            ended.wait(30)

    monkeypatch.setitem(JOB_KINDS, JobKind.TRAINING, run)

    run_next_job(worker.context)

    job = http.get(f"/api/v1/jobs/{job_id}").json
    assert ended.is_set()
    assert (job["status"], job["error"]["type"]) == ("failed", "/problems/time-limit-reached")


def test_an_attempt_that_ends_in_time_is_not_abandoned(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, job_id: str, ended: threading.Event
) -> None:
    def run(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:  # noqa: ARG001
        with lease.limit_time(time.monotonic(), TimeLimitReached("It took too long.")):
            time.sleep(0.1)
        time.sleep(0.6)
        raise TimeLimitReached("It ended itself.")

    monkeypatch.setitem(JOB_KINDS, JobKind.TRAINING, run)

    run_next_job(worker.context)

    assert not ended.is_set()
    assert http.get(f"/api/v1/jobs/{job_id}").json["error"]["detail"] == "It ended itself."
