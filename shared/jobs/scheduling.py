"""shared.jobs.scheduling"""

from collections.abc import Iterable

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    func,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, JobStatus, Owner
from shared.devices import Device


def list_waiting_devices(session: Session) -> list[Device]:
    """The devices that jobs ask for which could be claimed now, each once."""
    ready = or_(Job.scheduled_at.is_(None), Job.scheduled_at <= now())
    queued = [select(Job.id).where(Job.status == JobStatus.QUEUED, Job.device == device, ready) for device in Device]
    return [device for device, jobs in zip(Device, queued, strict=True) if session.scalar(select(jobs.exists()))]


CLAIM_LOCK = 7_241_153
"""Any number: whoever claims holds PostgreSQL's advisory lock of it."""


def lock_claims(session: Session) -> None:
    """One claimer at a time, to the end of the transaction: two would both see the same owner as the next."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time as it is
        session.execute(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))


def select_next_job(devices: Iterable[Device], max_running: int | None) -> Select[Job]:
    """The job whose turn it is; owners who have as many running as they may are passed over."""
    head = (
        select(Job.id)
        .where(Job.owner == Owner.name, *_match_claimable(devices))
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
        .correlate(Owner)
        .scalar_subquery()
    )
    heads = select(head.label("job_id"), count_running(Owner.name).label("running"), Owner.last_claimed_at).subquery()
    query = select(Job).join(heads, heads.c.job_id == Job.id)
    if max_running is not None:
        query = query.where(heads.c.running < max_running)
    turns = (Job.priority.desc(), heads.c.running, heads.c.last_claimed_at.nulls_first(), Job.created_at, Job.id)
    return query.order_by(*turns).limit(1)


def _match_claimable(devices: Iterable[Device]) -> tuple[ColumnElement[bool], ...]:
    ready = or_(Job.scheduled_at.is_(None), Job.scheduled_at <= now())
    return Job.status == JobStatus.QUEUED, Job.device.in_(tuple(devices)), ready


def count_running(owner: InstrumentedAttribute[str]) -> ScalarSelect[int]:
    others = Job.__table__.alias("others")
    count = select(func.count()).select_from(others).where(others.c.owner == owner, others.c.status.in_(HELD))
    return count.scalar_subquery()
