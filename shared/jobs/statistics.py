"""What the jobs come to as numbers, for those who watch over them."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, JobEpoch, JobStatus
from shared.devices import Device


def count_by_status(session: Session) -> dict[str, int]:
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status)).all()
    return {str(status): sum(count for found, count in rows if found == status) for status in JobStatus}


def count_waiting_by_device(session: Session) -> dict[str, tuple[int, float]]:
    """How many wait for each device, and for how many seconds the oldest has."""
    waiting = select(Job.device, func.count(), func.min(Job.created_at)).where(Job.status == JobStatus.QUEUED)
    time = session.scalars(select(now())).one()
    found = {str(device): (0, 0.0) for device in Device}
    for device, count, oldest in session.execute(waiting.group_by(Job.device)):
        found[device] = (count, (time - oldest).total_seconds())
    return found


def get_epoch_seconds(session: Session) -> dict[str, float]:
    """What the last epoch of each model took that is trained now."""
    newest = select(func.max(JobEpoch.epoch)).where(JobEpoch.job_id == Job.id).correlate(Job).scalar_subquery()
    query = select(Job.model, JobEpoch.seconds).join(JobEpoch, JobEpoch.job_id == Job.id)
    found = session.execute(query.where(Job.status.in_(HELD), JobEpoch.epoch == newest)).all()
    return {model: seconds for model, seconds in found}  # noqa: C416 - rows are no pairs to mypy


def count_lost_attempts(session: Session) -> int:
    return session.scalars(select(func.coalesce(func.sum(Job.lost_attempts), 0))).one()
