"""List the queued jobs in the order in which they start, with the reason of their place."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL, Viewer
from shared.database.tables.base import now
from shared.database.tables.jobs import Job, JobStatus, Owner
from shared.devices import Device
from shared.jobs.queries import SUMMARY
from shared.jobs.queue.scheduling import count_running
from shared.jobs.queue.wait_estimate import LONG_AGO, Wait, estimate_waits

MAX_LOOKED_AT = 1000


class QueueReason(StrEnum):
    """Why a job has its place.

    `delayed`: it waits after a lost attempt. `priority`: its priority is not 0. `turn`: other jobs of its owner run or
    start before it, and owners take turns. `age`: of the jobs that are alike, older ones start first.
    """

    DELAYED = "delayed"
    PRIORITY = "priority"
    TURN = "turn"
    AGE = "age"


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue.

    Attributes:
        place: 1 for the next job. Jobs that no device of this job's can run are not counted.
        turn: 1 for the first job of its owner at this priority, counted with the jobs of the owner that run.
        wait: seconds until it starts; None without an estimate, as in `QueuePosition`.
    """

    job: Job
    place: int
    turn: int
    reason: QueueReason
    wait: Wait | None


def list_queue(session: Session, limit: int, silence_seconds: float, viewer: Viewer | None = None) -> list[QueuedJob]:
    """List the first `limit` queued jobs in the order of `select_next_job`. Loads no specs.

    `viewer` gets only the jobs that it sees, of the first MAX_LOOKED_AT; their places count the others too. The limit
    of running jobs of an owner is ignored. Workers without a heartbeat for `silence_seconds` are not counted.
    """
    rows = _list_in_order(session, limit if viewer is None else MAX_LOOKED_AT)
    jobs = [job for job, _, _ in rows]
    waits = estimate_waits(session, jobs, silence_seconds)
    return [
        QueuedJob(job, place, turn, _choose_reason(job, turn, delayed=delayed), wait)
        for (job, turn, delayed), place, wait in zip(rows, _count_places(jobs), waits, strict=True)
        if viewer is None or viewer.sees_job(job)
    ][:limit]


def list_places(session: Session, limit: int) -> list[tuple[Job, int]]:
    """List the first `limit` queued jobs with their places, as `list_queue` does."""
    jobs = [job for job, _, _ in _list_in_order(session, limit)]
    return list(zip(jobs, _count_places(jobs), strict=True))


def _list_in_order(session: Session, limit: int) -> list[tuple[Job, int, bool]]:
    """List the first queued jobs, each with its turn, and whether it waits after a lost attempt."""
    rank = func.row_number().over(partition_by=(Job.owner, Job.priority), order_by=(Job.created_at, Job.id))
    turn = (rank + count_running(Job.owner)).label("turn")
    last_claimed_at = func.coalesce(Owner.last_claimed_at, LONG_AGO)
    query = (
        select(Job, turn, (Job.scheduled_at > now()).label("delayed"))
        .options(*SUMMARY)
        .join(Owner, Owner.name == Job.owner)
        .where(Job.status == JobStatus.QUEUED)
        .order_by(Job.priority.desc(), turn, last_claimed_at, Job.created_at, Job.id)
        .limit(limit)
    )
    rows = session.execute(query, execution_options=OF_ALL)
    return [(job, turn, bool(delayed)) for job, turn, delayed in rows]


def count_queue(session: Session) -> int:
    """Count the queued jobs of all projects."""
    count = select(func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED)
    return session.scalars(count, execution_options=OF_ALL).one()


def _count_places(jobs: Sequence[Job]) -> list[int]:
    """Return the place of each job among those before it that one of its devices can run."""
    before = dict.fromkeys(Device, 0)
    places = []
    for job in jobs:
        device = Device(job.device)
        others = list(Device) if device is Device.AUTO else [device, Device.AUTO]
        places.append(1 + sum(before[other] for other in others))
        before[device] += 1
    return places


def _choose_reason(job: Job, turn: int, *, delayed: bool) -> QueueReason:
    if delayed:
        return QueueReason.DELAYED
    if job.priority != 0:
        return QueueReason.PRIORITY
    return QueueReason.TURN if turn > 1 else QueueReason.AGE
