"""Read one job by its id, or a page of the list of jobs."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, String, Uuid, and_, cast, func, literal, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, defer, lazyload, load_only, selectinload

from shared.database.pagination import Page
from shared.database.tables.base import UtcDateTime, now
from shared.database.tables.jobs import ENDED, Job, JobKind, JobStatus, JobTag
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


_HEXADECIMAL = re.compile("[0-9a-f]+")
SUMMARY = (
    defer(Job.spec),
    selectinload(Job.version).options(load_only(Version.number, Version.job_id), lazyload(Version.files)),
)
"""Options of a query for jobs that are only listed."""


@dataclass(frozen=True)
class JobFilters:
    """Which jobs a list has. None, or an empty tuple, does not restrict them.

    Attributes:
        ids: only these jobs.
        tag: only jobs with this key and value; any value if it is None.
        text: only jobs whose model or notes contain it, or whose id begins with it.
    """

    statuses: tuple[JobStatus, ...] = ()
    kind: JobKind | None = None
    owner: str | None = None
    model: str | None = None
    project: str | None = None
    ids: tuple[UUID, ...] = ()
    tag: tuple[str, str | None] | None = None
    text: str | None = None

    def list_conditions(self) -> list[ColumnElement[bool]]:
        """List the conditions on the rows of jobs, all but `tag`."""
        equal = (
            (Job.kind, self.kind),
            (Job.owner, self.owner),
            (Job.model, self.model),
            (Job.project, self.project),
        )
        conditions = [column == value for column, value in equal if value is not None]
        if self.statuses:
            conditions.append(Job.status.in_(self.statuses))
        if self.ids:
            conditions.append(Job.id.in_(self.ids))
        return [*conditions, _contain(self.text)] if self.text else conditions


def list_jobs(
    session: Session,
    page: Page,
    filters: JobFilters = JobFilters(),
) -> list[Job]:
    """List a page of the jobs, the newest first. Loads no specs and no manifests: they can be large."""
    query = select(Job).options(*SUMMARY).limit(page.limit).where(*filters.list_conditions())
    query = query.order_by(Job.created_at.desc(), Job.id.desc())
    if page.after is not None and filters.tag is None:
        query = query.where(_is_before(Job.created_at, Job.id, page))
    if filters.tag is not None:
        key, value = filters.tag
        same = JobTag.key == key if value is None else and_(JobTag.key == key, JobTag.value == value)
        query = query.join(JobTag, JobTag.job_id == Job.id).where(same)
        query = query.order_by(None).order_by(JobTag.created_at.desc(), JobTag.job_id.desc())
        if page.after is not None:
            query = query.where(_is_before(JobTag.created_at, JobTag.job_id, page))
    return list(session.scalars(query))


def list_just_ended(session: Session, seconds: float, limit: int) -> list[Job]:
    """List the jobs that ended in the last `seconds`, the newest first, at most `limit`. Loads no specs."""
    recent = select(Job).options(*SUMMARY).where(Job.status.in_(ENDED), Job.ended_at > now(-seconds))
    return list(session.scalars(recent.order_by(Job.ended_at.desc()).limit(limit)))


def _contain(text: str) -> ColumnElement[bool]:
    """Match the jobs whose model or notes contain the text, in upper or lower case, or whose id begins with it."""
    contains = [column.icontains(text, autoescape=True) for column in (Job.model, Job.notes)]
    digits = text.lower().replace("-", "")
    if not _HEXADECIMAL.fullmatch(digits):
        return or_(*contains)
    return or_(*contains, func.replace(cast(Job.id, String), "-", "").startswith(digits))  # SQLite stores no hyphens


def _is_before(
    created_at: InstrumentedAttribute[datetime], job_id: InstrumentedAttribute[UUID], page: Page
) -> ColumnElement[bool]:
    """Match the jobs that follow the last entry of the previous page.

    The condition is one row comparison, so the database reads the page from one range of an index.
    """
    assert page.after is not None  # noqa: S101 - the caller has checked it
    last_time, last_id = page.after
    return tuple_(created_at, job_id) < tuple_(literal(last_time, UtcDateTime()), literal(last_id, Uuid()))
