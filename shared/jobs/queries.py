"""Read one job by its id, or a page of the list of jobs."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Uuid,
    and_,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, defer, lazyload, load_only, selectinload

from shared.database.pagination import Page
from shared.database.tables.base import UtcDateTime
from shared.database.tables.jobs import Job, JobStatus, JobTag
from shared.database.tables.registry import Version
from shared.errors import (
    JobNotFound,
)


def get_job(session: Session, job_id: UUID) -> Job:
    """Return the job with this id. Raises JobNotFound."""
    job = session.get(Job, job_id)
    if job is None:
        raise JobNotFound(f"There is no job {job_id}.")
    return job


def lock_job(session: Session, job_id: UUID) -> Job:
    """Return the job with this id, its row locked until the end of the transaction. Raises JobNotFound."""
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()
    if job is None:
        raise JobNotFound(f"There is no job {job_id}.")
    return job


def list_jobs(
    session: Session,
    page: Page,
    status: JobStatus | None = None,
    model: str | None = None,
    tag: tuple[str, str | None] | None = None,
) -> list[tuple[Job, str]]:
    """List a page of the jobs with their notes, the newest first. Loads no specs and no manifests: they can be large.

    Args:
        tag: only jobs with this key and value; any value if it is None.
    """
    options = defer(Job.spec), selectinload(Job.version).options(load_only(Version.number), lazyload(Version.files))
    query = select(Job, Job.spec["notes"].as_string()).options(*options).limit(page.limit)
    query = query.order_by(Job.created_at.desc(), Job.id.desc())
    if page.after is not None and tag is None:
        query = query.where(_is_before(Job.created_at, Job.id, page))
    if status is not None:
        query = query.where(Job.status == status)
    if model is not None:
        query = query.where(Job.model == model)
    if tag is not None:
        key, value = tag
        same = JobTag.key == key if value is None else and_(JobTag.key == key, JobTag.value == value)
        query = query.join(JobTag, JobTag.job_id == Job.id).where(same)
        query = query.order_by(None).order_by(JobTag.created_at.desc(), JobTag.job_id.desc())
        if page.after is not None:
            query = query.where(_is_before(JobTag.created_at, JobTag.job_id, page))
    return [(job, notes) for job, notes in session.execute(query)]


def _is_before(
    created_at: InstrumentedAttribute[datetime], job_id: InstrumentedAttribute[UUID], page: Page
) -> ColumnElement[bool]:
    """Match the jobs that follow the last entry of the previous page.

    The condition is one row comparison, so the database reads the page from one range of an index.
    """
    assert page.after is not None  # noqa: S101 - the caller has checked it
    last_time, last_id = page.after
    return tuple_(created_at, job_id) < tuple_(literal(last_time, UtcDateTime()), literal(last_id, Uuid()))
