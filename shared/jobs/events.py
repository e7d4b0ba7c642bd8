"""Record and read what happened to a job: events and epochs."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, delete, select, update
from sqlalchemy.orm import Session

from shared.database.tables.base import Document, now
from shared.database.tables.jobs import ENDED, Job, JobEpoch, JobEvent
from shared.errors import ServiceError, TrainingFailure


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; epochs count from 1."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class LogLine:
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
    """RFC 9457, as `GET /jobs/{id}` shows it: the title is the kind, in words."""
    title = failure.kind.replace("-", " ").capitalize()
    return {"type": f"/problems/{failure.kind}", "title": title, "detail": failure.detail}


TRANSIENT_EVENTS = ("progress", "log")


def list_epochs(session: Session, job_id: UUID, epoch: int, limit: int) -> list[JobEpoch]:
    query = (
        select(JobEpoch).where(JobEpoch.job_id == job_id, JobEpoch.epoch > epoch).order_by(JobEpoch.epoch).limit(limit)
    )
    return list(session.scalars(query))


def list_events(session: Session, job_id: UUID, number: int, limit: int) -> list[JobEvent]:
    query = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.number > number)
        .order_by(JobEvent.number)
        .limit(limit)
    )
    return list(session.scalars(query))


def list_log_events(session: Session, job_id: UUID, limit: int) -> list[JobEvent]:
    """The last so many events of which a log tells, in order."""
    told = and_(JobEvent.job_id == job_id, JobEvent.kind != "progress")
    newest = select(JobEvent).where(told).order_by(JobEvent.number.desc()).limit(limit)
    return list(session.scalars(newest))[::-1]


def trim_events(session: Session, seconds: float, limit: int) -> int:
    """Of jobs that ended so long ago, the events that only told how it went; answers of how many jobs."""
    old = and_(Job.status.in_(ENDED), Job.ended_at < now(-seconds), Job.events_trimmed.is_(False))
    chosen = list(session.scalars(select(Job.id).where(old).limit(limit).with_for_update(skip_locked=True)))
    session.execute(delete(JobEvent).where(JobEvent.job_id.in_(chosen), JobEvent.kind.in_(TRANSIENT_EVENTS)))
    session.execute(update(Job).where(Job.id.in_(chosen)).values(events_trimmed=True))
    return len(chosen)
