"""Select the next job to run, by priority and fairly among the owners. docs/jobs.md describes the order."""

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
from shared.database.tables.usage import Quota
from shared.devices import Device


def list_waiting_devices(session: Session) -> list[Device]:
    """List the devices that the claimable jobs request, each device once."""
    ready = or_(Job.scheduled_at.is_(None), Job.scheduled_at <= now())
    queued = [select(Job.id).where(Job.status == JobStatus.QUEUED, Job.device == device, ready) for device in Device]
    return [device for device, jobs in zip(Device, queued, strict=True) if session.scalar(select(jobs.exists()))]


NO_LIMIT = 2**31 - 1
CLAIM_LOCK = 7_241_153
"""The key of the advisory lock for claims in PostgreSQL. It is an arbitrary number, the same in all workers."""


def lock_claims(session: Session) -> None:
    """Lock claims until the end of the transaction: two claims at the same time would select the same owner."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite allows only one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))


def select_next_job(devices: Iterable[Device], max_running: int | None) -> Select[Job]:
    """Build the query for the next job. It skips owners with `max_running` running jobs; None for no limit.

    The quota of an owner is in place of `max_running`.

    The first claimable job of each owner is compared by priority, number of running jobs of the owner, time of the
    owner's last claim, and age of the job.
    """
    head = (
        select(Job.id)
        .where(Job.owner == Owner.name, *_match_claimable(devices))
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
        .correlate(Owner)
        .scalar_subquery()
    )
    own = (Quota.subject_kind == "user") & (Quota.kind == "running_jobs") & (Quota.subject == Owner.name)
    most = func.coalesce(Quota.most, max_running if max_running is not None else NO_LIMIT)
    columns = head.label("job_id"), count_running(Owner.name).label("running"), most.label("most")
    heads = select(*columns, Owner.last_claimed_at).select_from(Owner).outerjoin(Quota, own).subquery()
    query = select(Job).join(heads, heads.c.job_id == Job.id).where(heads.c.running < heads.c.most)
    turns = (Job.priority.desc(), heads.c.running, heads.c.last_claimed_at.nulls_first(), Job.created_at, Job.id)
    return query.order_by(*turns).limit(1)


def _match_claimable(devices: Iterable[Device]) -> tuple[ColumnElement[bool], ...]:
    ready = or_(Job.scheduled_at.is_(None), Job.scheduled_at <= now())
    return Job.status == JobStatus.QUEUED, Job.device.in_(tuple(devices)), ready


def count_running(owner: InstrumentedAttribute[str]) -> ScalarSelect[int]:
    """Build a subquery that counts the running jobs of an owner."""
    others = Job.__table__.alias("others")
    count = select(func.count()).select_from(others).where(others.c.owner == owner, others.c.status.in_(HELD))
    return count.scalar_subquery()
