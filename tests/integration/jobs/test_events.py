"""Many who listen to one job cost the database what one would."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from api.streaming import job_events
from api.streaming.job_events import JobFeeds
from shared.database.engine import Sessions
from shared.devices import Device
from shared.errors import OutOfMemory, TooManyListeners
from shared.jobs import lifecycle, submission
from shared.jobs.events import EpochReport
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, XOR, changed
from tests.support.jobs import train
from tests.support.worker import InProcessWorker

LISTENERS = 100


@pytest.fixture
def running(sessions: Sessions) -> UUID:
    """A job with 1 status of the queue, 1 of the run, and 3 epochs: 5 events."""
    with sessions.begin() as session:
        job = submission.create_job(session, TrainingSpec.model_validate(XOR))
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        lifecycle.renew(session, job.id, 1, 60, None, [EpochReport(epoch, 1, 1, {}) for epoch in (1, 2, 3)])
    return job.id


@contextmanager
def counted(sessions: Sessions) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def numbers(stream: Iterator[str]) -> list[int]:
    return [int(text.split("\n")[0].removeprefix("id: ")) for text in stream if text.startswith("id")]


def end(sessions: Sessions, job_id: UUID) -> None:
    with sessions.begin() as session:
        lifecycle.fail(session, job_id, 1, OutOfMemory(""))


def test_a_hundred_listeners_ask_once_a_second(sessions: Sessions, running: UUID) -> None:
    feeds = JobFeeds(sessions, most=LISTENERS)

    with ThreadPoolExecutor(LISTENERS) as pool:
        heard = [pool.submit(numbers, feeds.follow(running, 0)) for _ in range(LISTENERS)]
        with counted(sessions) as statements:
            began = time.monotonic()
            while len(statements) < 3:
                time.sleep(0.05)
            seconds = time.monotonic() - began
        end(sessions, running)

    assert len(statements) <= seconds / job_events.POLL_SECONDS + 2
    assert [future.result() for future in heard] == [[1, 2, 3, 4, 5, 6]] * LISTENERS


def test_who_comes_later_hears_what_was_before(sessions: Sessions, running: UUID) -> None:
    feeds = JobFeeds(sessions, most=3)
    heard: dict[int, list[int]] = {}

    def listen(after: int) -> None:
        heard[after] = numbers(feeds.follow(running, after))

    listeners = [threading.Thread(target=listen, args=(after,)) for after in (5, 0, 2)]
    for listener in listeners:
        listener.start()
        time.sleep(0.1)  # one after the other: the first has seen all there is
    end(sessions, running)
    for listener in listeners:
        listener.join()

    assert heard == {5: [6], 0: [1, 2, 3, 4, 5, 6], 2: [3, 4, 5, 6]}


def test_what_is_long_ago_is_read_again(sessions: Sessions, running: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "MAX_EVENTS_IN_MEMORY", 2)
    monkeypatch.setattr(job_events, "MAX_EVENTS_PER_READ", 2)
    end(sessions, running)

    assert numbers(JobFeeds(sessions, most=1).follow(running, 0)) == [1, 2, 3, 4, 5, 6]


def test_one_listener_too_many_is_refused(sessions: Sessions, running: UUID) -> None:
    feeds = JobFeeds(sessions, most=1)

    with feeds.open_feed(running), pytest.raises(TooManyListeners):
        feeds.check_capacity()

    feeds.check_capacity()


def test_a_slow_listener_is_dropped(sessions: Sessions, running: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "MAX_SEND_SECONDS", 0.01)
    stream = JobFeeds(sessions, most=1).follow(running, 0)

    next(stream)
    time.sleep(0.05)

    assert list(stream) == []


def test_a_listener_that_is_gone_is_forgotten(http: FlaskClient, sessions: Sessions, running: UUID) -> None:
    stream = JobFeeds(sessions, most=1).follow(running, 0)
    next(stream)

    stream.close()  # type: ignore[attr-defined]  # as a server does it when the connection breaks

    end(sessions, running)
    assert http.get(f"/api/v1/jobs/{running}/events").text.count("id: ") == 6


def test_the_log_tells_what_happened(
    http: FlaskClient, worker: InProcessWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = train(http, worker, DIGITS)

    log = http.get(f"/api/v1/jobs/{job['id']}/log")

    assert log.content_type == "text/plain; charset=utf-8"
    lines = [line.partition("Z  ")[2] for line in log.text.splitlines()]
    assert lines[:3] == [
        "queued, attempt 0",
        "running, attempt 1",
        "info: digits: 180 rows to train on, 20 to validate, 359 to test",
    ]
    assert [line.partition(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert lines[-1] == "succeeded, attempt 1"


def test_the_log_says_why_a_job_failed(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(XOR, "training", {"epochs": 50, "loss": "mse", "optimizer": {"name": "SGD", "learning_rate": 1e30}})
    job = train(http, worker, changed(spec, "network.layers", [{"layer": "Dense", "units": 1}]))

    lines = http.get(f"/api/v1/jobs/{job['id']}/log").text.splitlines()

    assert lines[-1].endswith(f"failed, attempt 1: {job['error']['detail']}")
