"""Count the seconds for which attempts hold devices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, true
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job
from shared.database.tables.usage import UsageRecord

KEPT_DAYS = 400


@dataclass(frozen=True)
class UseRow:
    """What somebody has used in a project: the number of attempts, and their seconds."""

    owner: str
    project: str
    attempts: int
    seconds: float


def record_ended(session: Session, jobs: Sequence[Job], *, is_lost: bool) -> None:
    """Record what attempts have used, in the transaction that releases their jobs.

    `jobs` were held until now. A lost attempt counts to the last sign of its life.
    """
    for job in jobs:
        if job.held_at is None:  # claimed by an earlier release
            continue
        time = job.ended_at or session.scalars(select(now())).one()
        end = job.renewed_at if is_lost and job.renewed_at is not None else time
        session.add(
            UsageRecord(
                job_id=job.id,
                attempt=job.attempt,
                owner=job.owner,
                project=job.project,
                device=job.device,
                seconds=max(0.0, (end - job.held_at).total_seconds()),
                ended_at=time,
            )
        )


Used = type[UsageRecord] | type[Job]
Choose = Callable[[Used], ColumnElement[bool]]
"""Makes the condition on the columns `owner` and `project` of what is counted."""


def choose_all(_: Used) -> ColumnElement[bool]:
    """Count everything."""
    return true()


def list_use(session: Session, since: datetime, choose: Choose = choose_all) -> list[UseRow]:
    """List what was used since a time, by owner and project. Running attempts count as far as they have come."""
    time = session.scalars(select(now())).one()
    query = select(UsageRecord.owner, UsageRecord.project, func.count(), func.sum(UsageRecord.seconds))
    query = query.where(UsageRecord.ended_at >= since, choose(UsageRecord))
    found = {
        (owner, project): (attempts, float(seconds))
        for owner, project, attempts, seconds in session.execute(query.group_by(UsageRecord.owner, UsageRecord.project))
    }
    running = select(Job.owner, Job.project, Job.held_at).where(Job.status.in_(HELD), Job.held_at.is_not(None))
    running = running.where(choose(Job))
    for owner, project, held_at in session.execute(running, execution_options=OF_ALL):
        assert held_at is not None  # noqa: S101 - chosen above
        attempts, seconds = found.get((owner, project), (0, 0.0))
        found[owner, project] = attempts + 1, seconds + max(0.0, (time - max(held_at, since)).total_seconds())
    rows = [UseRow(owner, project, attempts, seconds) for (owner, project), (attempts, seconds) in found.items()]
    return sorted(rows, key=lambda row: (-row.seconds, row.owner, row.project))


def delete_expired(session: Session) -> None:
    """Delete the records that are older than KEPT_DAYS."""
    session.execute(delete(UsageRecord).where(UsageRecord.ended_at < now(-KEPT_DAYS * 24 * 3600)))
