"""shared/jobs.py against the table of docs/jobs.md: whatever is done in whatever order, by however many at once."""

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
PATIENCE = RetryPolicy(attempts=2, seconds=0)
MOST_JOBS = 2
"""At a time that have not ended: so that much happens to each."""
PICKS = st.integers(0, 59)
WORKERS = ("worker-1", "worker-2", "worker-3")
Write = Callable[[Session, UUID, int], object]


def moves_on_the_page() -> dict[str, dict[str, str]]:
    """Move → status before → status after."""
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


TABLE = moves_on_the_page()


def test_the_page_shows_the_moves_there_are() -> None:
    assert {move.name: {str(old): str(new) for old, new in move.changes.items()} for move in TRANSITIONS} == TABLE
    page = (ROOT / "docs/jobs.md").read_text()
    assert [move.by for move in TRANSITIONS if f"| {move.name} | {move.by} |" not in page] == []


@dataclass
class Known:
    """What a job must be, by the table."""

    status: str = "queued"
    attempt: int = 0
    losses: int = 0
    worker: str | None = None
    stop_asked: bool = False

    def move(self, name: str) -> bool:
        """Whether the table allows it."""
        after = TABLE[name].get(self.status)
        self.status = after or self.status
        return after is not None


class Jobs(RuleBasedStateMachine):
    sessions: Sessions

    @initialize()
    def empty(self) -> None:
        self.known: dict[UUID, Known] = {}
        with self.sessions.begin() as session:
            session.execute(update(Job).values(retry_of=None))
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))

    @rule(owner=st.sampled_from(["ada", "bob"]))
    def create(self, owner: str) -> None:
        if sum(known.status not in ENDED for known in self.known.values()) == MOST_JOBS:
            return
        with self.sessions.begin() as session:
            self.known[submission.create_job(session, SPEC, owner).id] = Known()

    @rule(claimers=st.integers(1, 3))
    def claim_at_once(self, claimers: int) -> None:
        def claim(worker: str) -> Job | None:
            with self.sessions.begin() as session:
                return lifecycle.claim(session, worker, [Device.AUTO], 60)

        queued = sum(known.status == "queued" for known in self.known.values())
        with ThreadPoolExecutor(claimers) as pool:
            claimed = [job for job in pool.map(claim, WORKERS[:claimers]) if job is not None]
        assert len({job.id for job in claimed}) == len(claimed) == min(claimers, queued)
        for job in claimed:
            known = self.known[job.id]
            assert known.move("claim")
            known.attempt, known.worker = known.attempt + 1, job.worker
            assert not known.stop_asked or known.move("stop")  # it was asked for before the worker was lost

    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        if (job_id := self._any(pick)) is None:
            return
        known = self.known[job_id]
        if known.status in ENDED:
            with pytest.raises(JobHasEnded), self.sessions.begin() as session:
                lifecycle.cancel(session, job_id)
            return
        assert known.move("cancel") or known.status == "cancelling"
        with self.sessions.begin() as session:
            assert lifecycle.cancel(session, job_id).status == known.status

    @rule(pick=PICKS)
    def stop(self, pick: int) -> None:
        if (job_id := self._any(pick)) is None:
            return
        known = self.known[job_id]
        if known.move("stop") or known.status == "stopping":
            known.stop_asked = True
            with self.sessions.begin() as session:
                assert lifecycle.stop(session, job_id).status == "stopping"
            return
        if known.status == "queued" and known.stop_asked:
            with self.sessions.begin() as session:
                assert lifecycle.stop(session, job_id).status == "queued"
            return
        with pytest.raises((JobHasEnded, JobNotStarted)), self.sessions.begin() as session:
            lifecycle.stop(session, job_id)

    @rule(pick=PICKS, stale=st.booleans())
    def succeed(self, pick: int, *, stale: bool) -> None:
        self._by_an_attempt(
            pick,
            stale,
            "succeed",
            lambda session, job_id, attempt: publishing.publish(session, job_id, attempt, "xor", {}, []),
        )

    @rule(pick=PICKS, stale=st.booleans())
    def fail(self, pick: int, *, stale: bool) -> None:
        self._by_an_attempt(
            pick,
            stale,
            "fail",
            lambda session, job_id, attempt: lifecycle.fail(session, job_id, attempt, OutOfMemory("")),
        )

    @rule(pick=PICKS, stale=st.booleans())
    def finish_cancelling(self, pick: int, *, stale: bool) -> None:
        self._by_an_attempt(pick, stale, "finish cancelling", lifecycle.finish_cancelling)

    @rule(pick=PICKS, stale=st.booleans())
    def hand_back(self, pick: int, *, stale: bool) -> None:
        self._by_an_attempt(pick, stale, "hand back", lifecycle.hand_back)

    @rule(pick=PICKS, stale=st.booleans())
    def renew(self, pick: int, *, stale: bool) -> None:
        """No move: whoever holds the job is told its status, and nobody else may."""
        if (job_id := self._any(pick)) is None:
            return
        known, attempt = self.known[job_id], self._attempt(job_id, stale=stale)
        if attempt == known.attempt and known.status in ("running", "stopping", "cancelling"):
            with self.sessions.begin() as session:
                assert lifecycle.renew(session, job_id, attempt, 60, None, []) == known.status
            return
        with pytest.raises(LeaseLost), self.sessions.begin() as session:
            lifecycle.renew(session, job_id, attempt, 60, None, [])

    @rule(worker=st.sampled_from(WORKERS))
    def lose_a_training_process(self, worker: str) -> None:
        with self.sessions.begin() as session:
            lifecycle.rescue_from_worker(session, worker, PATIENCE)
        self._lose([known for known in self.known.values() if known.worker == worker])

    @rule(pick=PICKS)
    def let_a_lease_run_out(self, pick: int) -> None:
        if (job_id := self._any(pick)) is None:
            return
        with self.sessions.begin() as session:
            session.execute(
                update(Job).where(Job.id == job_id, Job.lease_until.is_not(None)).values(lease_until=now(-1))
            )
        with self.sessions.begin() as session:
            lifecycle.rescue_expired(session, PATIENCE)
        self._lose([self.known[job_id]])

    @invariant()
    def the_database_says_what_the_table_says(self) -> None:
        with self.sessions() as session:
            found = {job.id: job for job in queries.list_jobs(session, Page(200))}
            versions = registry_versions.list_versions(session, "xor", Page(200))
        assert {job_id: job.status for job_id, job in found.items()} == {
            job_id: known.status for job_id, known in self.known.items()
        }
        assert {job_id: job.attempt for job_id, job in found.items()} == {
            job_id: known.attempt for job_id, known in self.known.items()
        }
        succeeded = [job_id for job_id, known in self.known.items() if known.status == "succeeded"]
        assert sorted(version.job_id for version in versions) == sorted(succeeded)
        assert [version.number for version in versions] == list(range(len(versions), 0, -1))
        held = {job_id for job_id, job in found.items() if job.lease_until is not None}
        assert held == {
            job_id for job_id, known in self.known.items() if known.status in ("running", "stopping", "cancelling")
        }

    def _any(self, pick: int) -> UUID | None:
        """One that has not ended, if there is one; now and then any. What is drawn depends on nothing that happened:
        which of two claimers comes first is not the same each time.
        """
        going_on = [job_id for job_id, known in self.known.items() if known.status not in ENDED]
        choices = (going_on * MOST_JOBS + list(self.known)[-1:]) if going_on else list(self.known)
        return choices[pick % len(choices)] if choices else None

    def _attempt(self, job_id: UUID, *, stale: bool) -> int:
        """The one that holds the job, or one that lost it."""
        return max(0, self.known[job_id].attempt - stale)

    def _by_an_attempt(self, pick: int, stale: bool, move: str, write: Write) -> None:  # noqa: FBT001 - passed on
        if (job_id := self._any(pick)) is None:
            return
        known, attempt = self.known[job_id], self._attempt(job_id, stale=stale)
        if attempt == known.attempt and known.move(move):
            known.worker = known.worker if known.status in ENDED else None
            with self.sessions.begin() as session:
                write(session, job_id, attempt)
            return
        with pytest.raises(LeaseLost), self.sessions.begin() as session:
            write(session, job_id, attempt)

    def _lose(self, lost: list[Known]) -> None:
        for known in lost:
            last_chance = known.losses + 1 >= PATIENCE.attempts
            if (last_chance and known.move("give up")) or known.move("lose"):
                known.losses, known.worker = known.losses + 1, None


def test_whatever_is_done_the_table_holds(sessions: Sessions) -> None:
    machine = type("JobsHere", (Jobs,), {"sessions": sessions})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
