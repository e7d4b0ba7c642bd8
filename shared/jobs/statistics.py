"""Compute the numbers about jobs that the metrics show."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, JobEpoch, JobStatus
from shared.devices import Device


def count_by_status(session: Session) -> dict[str, int]:
    """Count the jobs by status. Every status has an entry."""
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status)).all()
    return {str(status): sum(count for found, count in rows if found == status) for status in JobStatus}


def count_waiting_by_device(session: Session) -> dict[str, tuple[int, float]]:
    """Return the number of queued jobs for each device, and the age in seconds of the oldest one."""
    waiting = select(Job.device, func.count(), func.min(Job.created_at)).where(Job.status == JobStatus.QUEUED)
    time = session.scalars(select(now())).one()
    found = {str(device): (0, 0.0) for device in Device}
    for device, count, oldest in session.execute(waiting.group_by(Job.device)):
        found[device] = (count, (time - oldest).total_seconds())
    return found


def get_epoch_seconds(session: Session) -> dict[str, float]:
    """Return the seconds that the newest epoch took, for each model that is in training."""
    newest = select(func.max(JobEpoch.epoch)).where(JobEpoch.job_id == Job.id).correlate(Job).scalar_subquery()
    query = select(Job.model, JobEpoch.seconds).join(JobEpoch, JobEpoch.job_id == Job.id)
    found = session.execute(query.where(Job.status.in_(HELD), JobEpoch.epoch == newest)).all()
    return {model: seconds for model, seconds in found}  # noqa: C416 - mypy does not accept rows as pairs


def count_lost_attempts(session: Session) -> int:
    """Count the lost attempts of all jobs in the database."""
    return session.scalars(select(func.coalesce(func.sum(Job.lost_attempts), 0))).one()
