"""Limit what users and projects have in the queue, on devices and in the artifact store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, record
from shared.access.users import read_clock
from shared.access.visibility import OF_ALL
from shared.database.tables.base import Document
from shared.database.tables.datasets import DatasetName, Revision, RevisionFile
from shared.database.tables.jobs import HELD, Job, JobStatus
from shared.database.tables.registry import Model, Version, VersionFile
from shared.database.tables.usage import Quota
from shared.errors import QuotaExceeded
from shared.jobs import usage

WINDOW_DAYS = 7
"""The device-minutes of a quota are those of the last days."""


class QuotaKind(StrEnum):
    """What is limited. `running_jobs` is a limit of users only."""

    QUEUED_JOBS = "queued_jobs"
    RUNNING_JOBS = "running_jobs"
    DEVICE_MINUTES = "device_minutes"
    STORED_BYTES = "stored_bytes"


@dataclass(frozen=True)
class Subject:
    """A user or a project, as what has a quota."""

    kind: Literal["user", "project"]
    name: str

    def __str__(self) -> str:
        return f"{self.name!r}" if self.kind == "user" else f"The project {self.name!r}"

    def owns(self, table: usage.Used) -> ColumnElement[bool]:
        """Match the rows of the user or the project."""
        return (table.owner if self.kind == "user" else table.project) == self.name


@dataclass(frozen=True)
class Use:
    """What a user or a project has now, and in the last WINDOW_DAYS."""

    queued_jobs: int
    running_jobs: int
    device_minutes: float
    stored_bytes: int


def get_quotas(session: Session, subject: Subject) -> dict[QuotaKind, int]:
    """Return the limits of a user or a project. One that is missing is no limit, or that of the settings."""
    query = select(Quota.kind, Quota.most).where(Quota.subject_kind == subject.kind, Quota.subject == subject.name)
    return {QuotaKind(kind): most for kind, most in session.execute(query)}


def set_quotas(session: Session, actor: Actor, subject: Subject, limits: Mapping[QuotaKind, int]) -> None:
    """Replace the limits of a user or a project."""
    before = get_quotas(session, subject)
    mine = delete(Quota).where(Quota.subject_kind == subject.kind, Quota.subject == subject.name)
    session.execute(mine)
    for kind, most in limits.items():
        session.add(Quota(subject_kind=subject.kind, subject=subject.name, kind=kind, most=most))
    if before != limits:
        record(
            session,
            actor,
            "quotas-changed",
            subject.kind,
            subject.name,
            before=_describe(before),
            after=_describe(limits),
        )


def measure_use(session: Session, subject: Subject) -> Use:
    """Measure what a user or a project has now, and has used in the last WINDOW_DAYS."""
    count = select(func.count()).select_from(Job).where(subject.owns(Job))
    queued, running = (
        session.scalars(count.where(condition), execution_options=OF_ALL).one()
        for condition in (Job.status == JobStatus.QUEUED, Job.status.in_(HELD))
    )
    return Use(queued, running, measure_minutes(session, subject), measure_bytes(session, subject))


def measure_minutes(session: Session, subject: Subject) -> float:
    """Measure the minutes for which jobs have held devices in the last WINDOW_DAYS."""
    since = read_clock(session) - timedelta(days=WINDOW_DAYS)
    return sum(row.seconds for row in usage.list_use(session, since, subject.owns)) / 60


def measure_bytes(session: Session, subject: Subject) -> int:
    """Measure the files of data sets and versions, (bytes). A file that two of them share counts twice."""
    is_user = subject.kind == "user"
    of_data = select(func.coalesce(func.sum(RevisionFile.size_bytes), 0)).join(Revision).join(DatasetName)
    of_data = of_data.where((DatasetName.created_by if is_user else DatasetName.project) == subject.name)
    of_models = select(func.coalesce(func.sum(VersionFile.size_bytes), 0)).join(Version)
    if is_user:
        of_models = of_models.join(Job, Job.id == Version.job_id).where(Job.owner == subject.name)
    else:
        of_models = of_models.join(Model, Model.name == Version.model).where(Model.project == subject.name)
    return sum(int(session.scalars(query, execution_options=OF_ALL).one()) for query in (of_data, of_models))


def check_jobs(session: Session, owner: str, project: str) -> None:
    """Check the quotas of an owner and of a project after jobs were added to the session. Raises QuotaExceeded."""
    for subject in (Subject("user", owner), Subject("project", project)):
        limits = _lock_quotas(session, subject)
        if (most := limits.get(QuotaKind.QUEUED_JOBS)) is not None:
            count = select(func.count()).select_from(Job).where(subject.owns(Job), Job.status == JobStatus.QUEUED)
            queued = session.scalars(count, execution_options=OF_ALL).one()
            if queued > most:
                raise QuotaExceeded(f"{subject} would have {queued} queued jobs; the quota is {most}. {_WAIT}")
        if (most := limits.get(QuotaKind.DEVICE_MINUTES)) is not None:
            minutes = measure_minutes(session, subject)
            if minutes >= most:
                raise QuotaExceeded(
                    f"{subject} has used {minutes:.2f} of {most} device-minutes in the last {WINDOW_DAYS} days. {_WAIT}"
                )
        _check_bytes(session, subject, limits, 0)


def check_upload(session: Session, owner: str, project: str, size_bytes: int) -> None:
    """Check that an owner and a project may store so many bytes more. Raises QuotaExceeded."""
    for subject in (Subject("user", owner), Subject("project", project)):
        _check_bytes(session, subject, _lock_quotas(session, subject), size_bytes)


def _describe(limits: Mapping[QuotaKind, int]) -> Document:
    return {kind.value: most for kind, most in limits.items()}


_WAIT = "Wait, or ask an admin for a larger quota."


def _check_bytes(session: Session, subject: Subject, limits: Mapping[QuotaKind, int], added: int) -> None:
    most = limits.get(QuotaKind.STORED_BYTES)
    if most is None:
        return
    stored = measure_bytes(session, subject)
    if stored + added > most or stored >= most:
        raise QuotaExceeded(
            f"{subject} has stored {stored:,} of {most:,} bytes{f', and asks for {added:,} more' if added else ''}. "
            "Ask a maintainer to delete data sets or versions, or an admin for a larger quota."
        )


def _lock_quotas(session: Session, subject: Subject) -> dict[QuotaKind, int]:
    """Return the limits, and lock them: of two transactions with one quota, the second waits for the first."""
    query = select(Quota).where(Quota.subject_kind == subject.kind, Quota.subject == subject.name)
    rows = session.scalars(query.order_by(Quota.kind).with_for_update())
    return {QuotaKind(row.kind): row.most for row in rows}
