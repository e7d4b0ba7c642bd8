"""Test which attempt may write to a job, and how jobs of lost workers are rescued."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from shared.database.engine import Sessions
from shared.database.pagination import Page
from shared.database.tables.jobs import Job, JobStatus
from shared.devices import Device
from shared.errors import OutOfMemory
from shared.jobs import events, lifecycle, publishing, queries, submission
from shared.jobs.events import EpochReport
from shared.jobs.lifecycle import LeaseLost
from shared.registry import versions
from shared.spec.training import TrainingSpec
from tests.support.examples import XOR, changed
from tests.support.worker import RETRY_POLICY, InProcessWorker, RecordingNotifier
from worker.maintenance.rescue import rescue_jobs


def submit(sessions: Sessions, priority: int = 0) -> UUID:
    with sessions.begin() as session:
        return submission.create_job(
            session, TrainingSpec.model_validate(changed(XOR, "resources.priority", priority))
        ).id


def claim(sessions: Sessions, lease_seconds: float = 60, worker: str = "worker-1") -> Job:
    """Claim the next job. A negative `lease_seconds` gives a lease that has expired already."""
    with sessions.begin() as session:
        job = lifecycle.claim(session, worker, [Device.AUTO], lease_seconds)
    assert job is not None
    return job


def get_status(sessions: Sessions, job_id: UUID) -> str:
    with sessions() as session:
        return queries.get_job(session, job_id).status


def test_jobs_are_claimed_by_priority_then_by_age(sessions: Sessions) -> None:
    first, urgent, last = submit(sessions), submit(sessions, 5), submit(sessions)

    assert [claim(sessions).id for _ in range(3)] == [urgent, first, last]


def test_no_job_is_claimed_twice(sessions: Sessions) -> None:
    submitted = {submit(sessions) for _ in range(20)}

    def claim_all(number: int) -> list[UUID]:
        claimed: list[UUID] = []
        while True:
            with sessions.begin() as session:
                job = lifecycle.claim(session, f"worker-{number}", [Device.AUTO], 60)
            if job is None:
                return claimed
            claimed.append(job.id)

    with ThreadPoolExecutor(4) as pool:
        claimed = [job_id for ids in pool.map(claim_all, range(4)) for job_id in ids]

    # Each claimer stops when `claim` returns None for the first time, even if a job is left: claim the rest here.
    claimed += claim_all(5)
    assert sorted(claimed) == sorted(submitted)


def test_an_attempt_that_lost_its_lease_cannot_write(sessions: Sessions) -> None:
    submit(sessions)
    lost = claim(sessions, lease_seconds=-1)
    with sessions.begin() as session:
        lifecycle.rescue_expired(session, RETRY_POLICY)
    claim(sessions, worker="worker-2")

    for write in (
        lambda session: lifecycle.renew(session, lost.id, lost.attempt, 60, {"epoch": 9}, [EpochReport(1, 1, 1, {})]),
        lambda session: lifecycle.fail(session, lost.id, lost.attempt, OutOfMemory("")),
        lambda session: lifecycle.finish_cancelling(session, lost.id, lost.attempt),
        lambda session: publishing.publish(session, lost.id, lost.attempt, "xor", {}, []),
    ):
        with pytest.raises(LeaseLost), sessions.begin() as session:
            write(session)

    with sessions() as session:
        job = queries.get_job(session, lost.id)
        assert (job.status, job.attempt, job.worker, job.progress) == ("running", 2, "worker-2", None)
        assert events.list_epochs(session, lost.id, 0, 10) == []
        assert versions.list_versions(session, "xor", Page(10)) == []


def test_a_cancelling_job_cannot_be_published(sessions: Sessions) -> None:
    job_id = submit(sessions)
    job = claim(sessions)
    with sessions.begin() as session:
        lifecycle.cancel(session, job_id)

    with pytest.raises(LeaseLost), sessions.begin() as session:
        publishing.publish(session, job.id, job.attempt, "xor", {}, [])

    with sessions.begin() as session:
        assert lifecycle.renew(session, job.id, job.attempt, 60, None, []) == JobStatus.CANCELLING
        lifecycle.finish_cancelling(session, job.id, job.attempt)
    assert get_status(sessions, job_id) == "cancelled"


def test_a_job_with_a_renewed_lease_is_not_rescued(sessions: Sessions) -> None:
    job_id = submit(sessions)
    job = claim(sessions, lease_seconds=-1)
    with sessions.begin() as session:
        lifecycle.renew(session, job.id, job.attempt, 60, None, [])

    with sessions.begin() as session:
        assert lifecycle.rescue_expired(session, RETRY_POLICY) == []
    assert get_status(sessions, job_id) == "running"


def test_a_job_with_an_expired_lease_is_requeued_and_notified(sessions: Sessions, notifier: RecordingNotifier) -> None:
    job_id = submit(sessions)
    claim(sessions, lease_seconds=-1)

    rescue_jobs(sessions, notifier, RETRY_POLICY)

    assert get_status(sessions, job_id) == "queued"
    assert notifier.notified == [Device.AUTO]


def test_a_job_whose_last_attempt_is_lost_fails_and_names_a_remedy(sessions: Sessions) -> None:
    job_id = submit(sessions)

    for _ in range(RETRY_POLICY.attempts):
        claim(sessions, lease_seconds=-1)
        with sessions.begin() as session:
            lifecycle.rescue_expired(session, RETRY_POLICY)

    with sessions() as session:
        job = queries.get_job(session, job_id)
        assert (job.status, job.attempt) == ("failed", RETRY_POLICY.attempts)
        assert job.error is not None
        assert "batch_size" in job.error["detail"]


def test_a_cancelling_job_is_cancelled_when_its_lease_expires(sessions: Sessions) -> None:
    job_id = submit(sessions)
    claim(sessions, lease_seconds=-1)
    with sessions.begin() as session:
        lifecycle.cancel(session, job_id)

    with sessions.begin() as session:
        lifecycle.rescue_expired(session, RETRY_POLICY)

    assert get_status(sessions, job_id) == "cancelled"


def test_an_attempt_that_is_handed_back_does_not_count_as_lost(sessions: Sessions) -> None:
    job_id = submit(sessions)

    for _ in range(RETRY_POLICY.attempts + 1):
        claim(sessions)
        with sessions.begin() as session:
            lifecycle.hand_back_all(session, "worker-1")

    assert get_status(sessions, job_id) == "queued"


def test_only_the_jobs_of_the_lost_worker_are_rescued(sessions: Sessions) -> None:
    lost_job, other_job = submit(sessions), submit(sessions)
    claim(sessions, worker="worker-1")
    claim(sessions, worker="worker-2")

    with sessions.begin() as session:
        lifecycle.rescue_from_worker(session, "worker-1", RETRY_POLICY)

    assert (get_status(sessions, lost_job), get_status(sessions, other_job)) == ("queued", "running")


def test_a_notification_without_a_queued_job_does_nothing(worker: InProcessWorker) -> None:
    assert worker.run_next() is None


def test_the_end_of_a_job_notifies_only_if_another_job_is_queued(
    sessions: Sessions, worker: InProcessWorker, notifier: RecordingNotifier
) -> None:
    submit(sessions)
    submit(sessions)

    worker.run_next()
    worker.run_next()

    assert notifier.notified == [Device.AUTO]


def test_versions_published_at_once_get_different_numbers(sessions: Sessions) -> None:
    running = []
    for _ in range(4):
        submit(sessions)
        running.append(claim(sessions))

    def publish(job: Job) -> int:
        with sessions.begin() as session:
            return publishing.publish(session, job.id, job.attempt, "xor", {}, [])

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(publish, running))

    assert sorted(numbers) == [1, 2, 3, 4]


def test_a_job_is_never_published_twice(sessions: Sessions) -> None:
    submit(sessions)
    job = claim(sessions)
    with sessions.begin() as session:
        publishing.publish(session, job.id, job.attempt, "xor", {}, [])

    with pytest.raises(LeaseLost), sessions.begin() as session:
        publishing.publish(session, job.id, job.attempt, "xor", {}, [])

    with sessions() as session:
        assert versions.count_versions(session, "xor") == 1


def test_the_lease_of_an_unknown_job_cannot_be_renewed(sessions: Sessions) -> None:
    with pytest.raises(LeaseLost), sessions.begin() as session:
        lifecycle.renew(session, uuid4(), 1, 60, None, [])
