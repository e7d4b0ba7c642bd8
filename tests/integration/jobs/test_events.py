"""Test the events of jobs: all listeners of one job share one query, and the log lists what happened."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from api.documents.jobs import write_change
from api.streaming.job_changes import ChangesFeed
from api.streaming.job_events import POLL_SECONDS, FeedLimits, JobFeeds
from shared.database.engine import Sessions
from shared.devices import Device
from shared.errors import OutOfMemory, TooManyListeners
from shared.jobs import lifecycle, submission
from shared.jobs.events import EpochReport
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, XOR, Json, changed
from tests.support.jobs import train
from tests.support.worker import InProcessWorker

LISTENERS = 100
PROGRESS: Json = {
    "epoch": 1,
    "epochs": 3,
    "batch": 1,
    "batches": 1,
    "percent": 0.0,
    "seconds_left": None,
    "metrics": {},
}


@pytest.fixture
def running_job(sessions: Sessions) -> UUID:
    """Provide a running job with 5 events: 2 of status (queued, running) and 3 of epochs. No worker trains it."""
    with sessions.begin() as session:
        job = submission.create_job(session, TrainingSpec.model_validate(XOR))
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        lifecycle.renew(session, job.id, 1, 60, None, [EpochReport(epoch, 1, 1, {}) for epoch in (1, 2, 3)])
    return job.id


@contextmanager
def record_selects(sessions: Sessions) -> Iterator[list[str]]:
    """Record the SELECT statements that go to the database."""
    statements: list[str] = []

    def record(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine, "before_cursor_execute", record)


def read_event_numbers(stream: Iterator[str]) -> list[int]:
    """Read a stream to its end and return the numbers of its events."""
    return [int(text.split("\n")[0].removeprefix("id: ")) for text in stream if text.startswith("id")]


def fail_job(sessions: Sessions, job_id: UUID) -> None:
    with sessions.begin() as session:
        lifecycle.fail(session, job_id, 1, OutOfMemory(""))


def test_a_hundred_listeners_share_one_query_a_second(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=LISTENERS), write_change)

    with ThreadPoolExecutor(LISTENERS) as pool:
        futures = [pool.submit(read_event_numbers, feeds.follow(running_job, 0)) for _ in range(LISTENERS)]
        with record_selects(sessions) as statements:
            started = time.monotonic()
            while len(statements) < 3:
                time.sleep(0.05)
            seconds = time.monotonic() - started
        fail_job(sessions, running_job)

    assert len(statements) <= seconds / POLL_SECONDS + 2
    assert [future.result() for future in futures] == [[1, 2, 3, 4, 5, 6]] * LISTENERS


def test_a_late_listener_receives_the_earlier_events(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=3), write_change)
    received: dict[int, list[int]] = {}

    def listen(after: int) -> None:
        received[after] = read_event_numbers(feeds.follow(running_job, after))

    listeners = [threading.Thread(target=listen, args=(after,)) for after in (5, 0, 2)]
    for listener in listeners:
        listener.start()
        time.sleep(0.1)  # one after another: the first listener has all 5 events before the others start
    fail_job(sessions, running_job)
    for listener in listeners:
        listener.join()

    assert received == {5: [6], 0: [1, 2, 3, 4, 5, 6], 2: [3, 4, 5, 6]}


def test_old_events_are_read_from_the_database(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=1, events_in_memory=2, events_per_read=2), write_change)
    fail_job(sessions, running_job)

    assert read_event_numbers(feeds.follow(running_job, 0)) == [1, 2, 3, 4, 5, 6]


def test_a_listener_over_the_limit_is_refused(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=1), write_change)

    stream = feeds.follow(running_job, 0)
    with pytest.raises(TooManyListeners):
        feeds.follow(running_job, 0)
    stream.close()  # nothing was read from it
    stream.close()

    feeds.follow(running_job, 0).close()


def test_the_limit_of_listeners_holds_for_concurrent_requests(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=3), write_change)

    def follow(_: int) -> bool:
        try:
            feeds.follow(running_job, 0)
        except TooManyListeners:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(follow, range(200))) == 3


def test_a_stream_that_ended_makes_room(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=1), write_change)
    fail_job(sessions, running_job)

    for _ in range(2):
        assert read_event_numbers(feeds.follow(running_job, 0)) == [1, 2, 3, 4, 5, 6]


def test_a_slow_listener_is_dropped(sessions: Sessions, running_job: UUID) -> None:
    stream = JobFeeds(sessions, FeedLimits(listeners=1, send_seconds=0.01), write_change).follow(running_job, 0)

    next(stream)
    time.sleep(0.05)

    assert list(stream) == []


def test_a_closed_stream_does_not_disturb_other_listeners(
    http: FlaskClient, sessions: Sessions, running_job: UUID
) -> None:
    stream = JobFeeds(sessions, FeedLimits(listeners=1), write_change).follow(running_job, 0)
    next(stream)

    stream.close()  # as a server does when the connection breaks

    fail_job(sessions, running_job)
    assert http.get(f"/api/v1/jobs/{running_job}/events").text.count("id: ") == 6


def test_the_log_lists_statuses_messages_and_epochs(
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
        "info: digits: 180 training rows, 20 validation rows, 359 test rows",
    ]
    assert [line.partition(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert lines[-1] == "succeeded, attempt 1"


def test_the_log_says_why_a_job_failed(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(XOR, "training", {"epochs": 50, "loss": "mse", "optimizer": {"name": "SGD", "learning_rate": 1e30}})
    job = train(http, worker, changed(spec, "network.layers", [{"layer": "Dense", "units": 1}]))

    lines = http.get(f"/api/v1/jobs/{job['id']}/log").text.splitlines()

    assert lines[-1].endswith(f"failed, attempt 1: {job['error']['detail']}")


def read_changes(stream: Iterator[str]) -> tuple[str, Json]:
    """Read the next event of the stream of all changes, and return its kind and its data."""
    text = next(text for text in stream if text.startswith("event"))
    kind, data = text.strip().split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_the_stream_of_all_jobs_begins_with_all_and_tells_each_change(sessions: Sessions) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=1), write_change)
    with sessions.begin() as session:
        first, second = (submission.create_job(session, TrainingSpec.model_validate(XOR)) for _ in range(2))
    stream = feeds.follow_all()

    kind, present = read_changes(stream)
    assert (kind, [job["place"] for job in present["jobs"]], present["queued"]) == ("jobs", [1, 2], 2)
    with sessions.begin() as session:
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
    changes = [read_changes(stream) for _ in range(3)]
    jobs = {data["id"]: data for kind, data in changes if kind == "job"}
    assert (jobs[str(first.id)]["status"], jobs[str(first.id)]["place"]) == ("running", None)
    assert jobs[str(second.id)]["place"] == 1
    assert changes[-1] == ("queue", {"queued": 1})
    fail_job(sessions, first.id)
    kind, ended = read_changes(stream)
    assert (kind, ended["id"], ended["status"]) == ("job", str(first.id), "failed")
    stream.close()
    feeds.follow(first.id, 0).close()  # the place of the stream is free again


def test_listeners_of_all_jobs_share_one_look_a_second(sessions: Sessions, running_job: UUID) -> None:
    feeds = JobFeeds(sessions, FeedLimits(listeners=LISTENERS), write_change)

    def listen(_: int) -> list[Json]:
        stream = feeds.follow_all()
        events = [read_changes(stream)[1], read_changes(stream)[1]]
        stream.close()
        return events

    with record_selects(sessions) as statements, ThreadPoolExecutor(LISTENERS) as pool:
        listening = pool.map(listen, range(LISTENERS))
        time.sleep(POLL_SECONDS / 2)
        fail_job(sessions, running_job)
        answers = list(listening)

    assert {answer[0]["jobs"][0]["status"] for answer in answers} <= {"running", "failed"}
    assert all(answer[1]["status"] == "failed" for answer in answers)
    assert len(statements) < LISTENERS


def test_a_listener_that_reads_slowly_gets_all_jobs_again(sessions: Sessions, running_job: UUID) -> None:
    feed = ChangesFeed(sessions, write_change, max_changes=1, poll_seconds=0)
    last, _ = feed.read(None)
    for percent in (1, 2, 3):
        with sessions.begin() as session:
            lifecycle.renew(session, running_job, 1, 60, {**PROGRESS, "percent": percent}, [])
        newest, _ = feed.read(None)

    _, (event,) = feed.read(last)
    _, (change,) = feed.read(newest - 1)

    assert event.startswith("event: jobs\n")
    assert change.startswith("event: job\n")
    assert feed.read(newest) == (newest, [])
