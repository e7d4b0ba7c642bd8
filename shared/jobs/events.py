"""Define the reports of an attempt, and read and trim the events and epochs of jobs."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from shared.database.tables.base import Document, now
from shared.database.tables.jobs import ENDED, Job, JobEpoch, JobEvent
from shared.errors import ServiceError, TrainingFailure


@dataclass(frozen=True)
class EpochReport:
    """The result of one epoch of a training.

    Attributes:
        epoch: number of the epoch, from 1.
        seconds: duration of the epoch.
        learning_rate: learning rate of the epoch.
        metrics: loss and metrics by name, those of the validation with the prefix `val_`; None for NaN and infinity.
    """

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class LogLine:
    """A line for the log of a job. `level` is the name of a level of `logging`, such as `INFO`."""

    level: str
    message: str


def format_epoch(report: EpochReport | JobEpoch) -> Document:
    return {
        "epoch": report.epoch,
        "seconds": report.seconds,
        "learning_rate": report.learning_rate,
        "metrics": report.metrics,
    }


def to_problem(failure: TrainingFailure | ServiceError) -> Document:
    """Convert an error to a problem document (RFC 9457), as `GET /jobs/{id}` shows it. The title is the kind."""
    title = failure.kind.replace("-", " ").capitalize()
    return {"type": f"/problems/{failure.kind}", "title": title, "detail": failure.detail}


TRANSIENT_EVENTS = ("progress", "log")
"""The kinds of events that are deleted after a retention period. Changes of status and epochs are kept."""


def get_last_epoch(session: Session, job_id: UUID) -> int:
    """Return the number of the last trained epoch; 0 without one."""
    return session.scalar(select(func.max(JobEpoch.epoch)).where(JobEpoch.job_id == job_id)) or 0


def list_evenly(session: Session, job_id: UUID, limit: int) -> list[EpochReport]:
    """List about `limit` epochs at equal distances, and the last one; all of them if they are no more."""
    last = get_last_epoch(session, job_id)
    step = max(1, -(-last // limit))
    columns = JobEpoch.epoch, JobEpoch.seconds, JobEpoch.learning_rate, JobEpoch.metrics
    query = select(*columns).where(JobEpoch.job_id == job_id).order_by(JobEpoch.epoch)
    if step > 1:
        query = query.where(or_(JobEpoch.epoch % step == 1, JobEpoch.epoch == last))
    return [EpochReport(*row) for row in session.execute(query)]  # rows, and no objects: there can be thousands


def list_epochs(session: Session, job_id: UUID, epoch: int, limit: int) -> list[JobEpoch]:
    """List the epochs after `epoch`, at most `limit`."""
    query = (
        select(JobEpoch).where(JobEpoch.job_id == job_id, JobEpoch.epoch > epoch).order_by(JobEpoch.epoch).limit(limit)
    )
    return list(session.scalars(query))


def list_events(session: Session, job_id: UUID, number: int, limit: int) -> list[JobEvent]:
    """List the events after the event `number`, at most `limit`."""
    query = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.number > number)
        .order_by(JobEvent.number)
        .limit(limit)
    )
    return list(session.scalars(query))


def list_log_events(session: Session, job_id: UUID, limit: int) -> list[JobEvent]:
    """List the newest events except progress, at most `limit`, the oldest first."""
    is_logged = and_(JobEvent.job_id == job_id, JobEvent.kind != "progress")
    newest = select(JobEvent).where(is_logged).order_by(JobEvent.number.desc()).limit(limit)
    return list(session.scalars(newest))[::-1]


def trim_events(session: Session, seconds: float, limit: int) -> int:
    """Delete the progress and the log lines of at most `limit` jobs that ended more than `seconds` ago.

    Returns the number of these jobs.
    """
    old = and_(Job.status.in_(ENDED), Job.ended_at < now(-seconds), Job.events_trimmed.is_(False))
    chosen = list(session.scalars(select(Job.id).where(old).limit(limit).with_for_update(skip_locked=True)))
    session.execute(delete(JobEvent).where(JobEvent.job_id.in_(chosen), JobEvent.kind.in_(TRANSIENT_EVENTS)))
    session.execute(update(Job).where(Job.id.in_(chosen)).values(events_trimmed=True))
    return len(chosen)
