"""Test the status transitions of jobs against the table in docs/jobs.md, in random order and with concurrent claims."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from shared.database.engine import Sessions
from shared.database.pagination import Page
from shared.database.tables.base import Base, now
from shared.database.tables.jobs import ENDED, Job
from shared.devices import Device
from shared.errors import JobHasEnded, JobNotStarted, OutOfMemory
from shared.jobs import lifecycle, publishing, queries, submission
from shared.jobs.lifecycle import LeaseLost, RetryPolicy
from shared.jobs.transitions import TRANSITIONS
from shared.registry import versions as registry_versions
from shared.spec.training import TrainingSpec
from tests.support.databases import ROOT
from tests.support.examples import XOR

SPEC = TrainingSpec.model_validate(XOR)
RETRY_POLICY = RetryPolicy(attempts=2, seconds=0)
MAX_UNFINISHED_JOBS = 2
"""Few jobs at a time, so that each of them goes through many transitions."""
PICKS = st.integers(0, 59)
"""A number that `_pick_job` turns into one of the jobs."""
WORKERS = ("worker-1", "worker-2", "worker-3")
Write = Callable[[Session, UUID, int], object]


def read_transition_table() -> dict[str, dict[str, str]]:
    """Return transition → status before → status after, as docs/jobs.md lists them."""
    lines = [line.strip("|").split("|") for line in (ROOT / "docs/jobs.md").read_text().splitlines() if "|" in line]
    header = next(cells for cells in lines if cells[0].strip() == "move")
    before = [re.sub(r"from|`", "", cell).strip() for cell in header[2:]]
    table = {}
    for cells in lines[lines.index(header) + 2 :]:
        after = [cell.strip(" `") for cell in cells[2:]]
        if len(after) != len(before):
            break
        table[cells[0].strip()] = {old: new for old, new in zip(before, after, strict=True) if new}
    return table


TABLE = read_transition_table()


def test_the_documentation_lists_every_transition() -> None:
    assert {move.name: {str(old): str(new) for old, new in move.changes.items()} for move in TRANSITIONS} == TABLE
    page = (ROOT / "docs/jobs.md").read_text()
    assert [move.by for move in TRANSITIONS if f"| {move.name} | {move.by} |" not in page] == []


@dataclass
class ExpectedJob:
    """The state that a job must have according to the table."""

    status: str = "queued"
    attempt: int = 0
    lost_attempts: int = 0
    worker: str | None = None
    stop_asked: bool = False

    def apply(self, name: str) -> bool:
        """Change the status as the table says. Return False, and change nothing, if the table does not allow it."""
        after = TABLE[name].get(self.status)
        self.status = after or self.status
        return after is not None


class JobMachine(RuleBasedStateMachine):
    """Jobs in a database, next to the states that they must have. Hypothesis calls the rules in random order.

    Attributes:
        sessions: set on a subclass by the test, once for each kind of database.
    """

    sessions: Sessions

    @initialize()
    def empty_database(self) -> None:
        self.expected: dict[UUID, ExpectedJob] = {}
        with self.sessions.begin() as session:
            session.execute(update(Job).values(retry_of=None))
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))

    @rule(owner=st.sampled_from(["ada", "bob"]))
    def create(self, owner: str) -> None:
        if sum(expected.status not in ENDED for expected in self.expected.values()) == MAX_UNFINISHED_JOBS:
            return
        with self.sessions.begin() as session:
            self.expected[submission.create_job(session, SPEC, owner).id] = ExpectedJob()

    @rule(claimers=st.integers(1, 3))
    def claim_at_once(self, claimers: int) -> None:
        def claim(worker: str) -> Job | None:
            with self.sessions.begin() as session:
                return lifecycle.claim(session, worker, [Device.AUTO], 60)

        queued = sum(expected.status == "queued" for expected in self.expected.values())
        with ThreadPoolExecutor(claimers) as pool:
            claimed = [job for job in pool.map(claim, WORKERS[:claimers]) if job is not None]
        assert len({job.id for job in claimed}) == len(claimed) == min(claimers, queued)
        for job in claimed:
            expected = self.expected[job.id]
            assert expected.apply("claim")
            expected.attempt, expected.worker = expected.attempt + 1, job.worker
            assert not expected.stop_asked or expected.apply("stop")  # the stop request outlives the lost worker

    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        if (job_id := self._pick_job(pick)) is None:
            return
        expected = self.expected[job_id]
        if expected.status in ENDED:
            with pytest.raises(JobHasEnded), self.sessions.begin() as session:
                lifecycle.cancel(session, job_id)
            return
        assert expected.apply("cancel") or expected.status == "cancelling"
        with self.sessions.begin() as session:
            assert lifecycle.cancel(session, job_id).status == expected.status

    @rule(pick=PICKS)
    def stop(self, pick: int) -> None:
        if (job_id := self._pick_job(pick)) is None:
            return
        expected = self.expected[job_id]
        if expected.apply("stop") or expected.status == "stopping":
            expected.stop_asked = True
            with self.sessions.begin() as session:
                assert lifecycle.stop(session, job_id).status == "stopping"
            return
        if expected.status == "queued" and expected.stop_asked:
            with self.sessions.begin() as session:
                assert lifecycle.stop(session, job_id).status == "queued"
            return
        with pytest.raises((JobHasEnded, JobNotStarted)), self.sessions.begin() as session:
            lifecycle.stop(session, job_id)

    @rule(pick=PICKS, stale=st.booleans())
    def succeed(self, pick: int, *, stale: bool) -> None:
        self._write_as_attempt(
            pick,
            stale,
            "succeed",
            lambda session, job_id, attempt: publishing.publish(session, job_id, attempt, "xor", {}, []),
        )

    @rule(pick=PICKS, stale=st.booleans())
    def fail(self, pick: int, *, stale: bool) -> None:
        self._write_as_attempt(
            pick,
            stale,
            "fail",
            lambda session, job_id, attempt: lifecycle.fail(session, job_id, attempt, OutOfMemory("")),
        )

    @rule(pick=PICKS, stale=st.booleans())
    def finish_cancelling(self, pick: int, *, stale: bool) -> None:
        self._write_as_attempt(pick, stale, "finish cancelling", lifecycle.finish_cancelling)

    @rule(pick=PICKS, stale=st.booleans())
    def hand_back(self, pick: int, *, stale: bool) -> None:
        self._write_as_attempt(pick, stale, "hand back", lifecycle.hand_back)

    @rule(pick=PICKS, stale=st.booleans())
    def renew(self, pick: int, *, stale: bool) -> None:
        """Check the lease, which has no transition: only the attempt that holds the job may renew it."""
        if (job_id := self._pick_job(pick)) is None:
            return
        expected, attempt = self.expected[job_id], self._get_attempt(job_id, stale=stale)
        if attempt == expected.attempt and expected.status in ("running", "stopping", "cancelling"):
            with self.sessions.begin() as session:
                assert lifecycle.renew(session, job_id, attempt, 60, None, []) == expected.status
            return
        with pytest.raises(LeaseLost), self.sessions.begin() as session:
            lifecycle.renew(session, job_id, attempt, 60, None, [])

    @rule(worker=st.sampled_from(WORKERS))
    def lose_a_training_process(self, worker: str) -> None:
        with self.sessions.begin() as session:
            lifecycle.rescue_from_worker(session, worker, RETRY_POLICY)
        self._expect_loss([expected for expected in self.expected.values() if expected.worker == worker])

    @rule(pick=PICKS)
    def expire_a_lease(self, pick: int) -> None:
        if (job_id := self._pick_job(pick)) is None:
            return
        with self.sessions.begin() as session:
            session.execute(
                update(Job).where(Job.id == job_id, Job.lease_until.is_not(None)).values(lease_until=now(-1))
            )
        with self.sessions.begin() as session:
            lifecycle.rescue_expired(session, RETRY_POLICY)
        self._expect_loss([self.expected[job_id]])

    @invariant()
    def the_database_matches_the_table(self) -> None:
        with self.sessions() as session:
            found = {job.id: job for job in queries.list_jobs(session, Page(200))}
            versions = registry_versions.list_versions(session, "xor", Page(200))
        assert {job_id: job.status for job_id, job in found.items()} == {
            job_id: expected.status for job_id, expected in self.expected.items()
        }
        assert {job_id: job.attempt for job_id, job in found.items()} == {
            job_id: expected.attempt for job_id, expected in self.expected.items()
        }
        succeeded = [job_id for job_id, expected in self.expected.items() if expected.status == "succeeded"]
        assert sorted(version.job_id for version in versions) == sorted(succeeded)
        assert [version.number for version in versions] == list(range(len(versions), 0, -1))
        held = {job_id for job_id, job in found.items() if job.lease_until is not None}
        assert held == {
            job_id
            for job_id, expected in self.expected.items()
            if expected.status in ("running", "stopping", "cancelling")
        }

    def _pick_job(self, pick: int) -> UUID | None:
        """Return an unfinished job, sometimes the newest job, any job if all have ended, and None if there is none.

        The number is drawn without looking at the jobs: which of two concurrent claimers comes first differs between
        runs, and Hypothesis must draw the same numbers when it repeats a run.
        """
        unfinished = [job_id for job_id, expected in self.expected.items() if expected.status not in ENDED]
        choices = (unfinished * MAX_UNFINISHED_JOBS + list(self.expected)[-1:]) if unfinished else list(self.expected)
        return choices[pick % len(choices)] if choices else None

    def _get_attempt(self, job_id: UUID, *, stale: bool) -> int:
        """Return the number of the latest attempt, or of the attempt before it if `stale`."""
        return max(0, self.expected[job_id].attempt - stale)

    def _write_as_attempt(self, pick: int, stale: bool, move: str, write: Write) -> None:  # noqa: FBT001 - passed on
        """Write as an attempt, and expect the transition that the table allows, else LeaseLost."""
        if (job_id := self._pick_job(pick)) is None:
            return
        expected, attempt = self.expected[job_id], self._get_attempt(job_id, stale=stale)
        if attempt == expected.attempt and expected.apply(move):
            expected.worker = expected.worker if expected.status in ENDED else None
            with self.sessions.begin() as session:
                write(session, job_id, attempt)
            return
        with pytest.raises(LeaseLost), self.sessions.begin() as session:
            write(session, job_id, attempt)

    def _expect_loss(self, lost: list[ExpectedJob]) -> None:
        """Apply the loss of these jobs' attempts: `give up` if no attempt is left, else `lose`."""
        for expected in lost:
            last_chance = expected.lost_attempts + 1 >= RETRY_POLICY.attempts
            if (last_chance and expected.apply("give up")) or expected.apply("lose"):
                expected.lost_attempts, expected.worker = expected.lost_attempts + 1, None


def test_jobs_follow_the_table_in_any_order_of_operations(sessions: Sessions) -> None:
    machine = type("JobMachineOfDatabase", (JobMachine,), {"sessions": sessions})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
