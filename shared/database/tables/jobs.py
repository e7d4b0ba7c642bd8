"""The tables of the registry. Times are UTC, by the database's clock."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database.tables.base import Base, Document, now
from shared.database.tables.registry import Version


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


HELD = frozenset({JobStatus.RUNNING, JobStatus.STOPPING, JobStatus.CANCELLING})
"""By a worker, for as long as its lease lasts."""
ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
ANONYMOUS = "anonymous"


class JobKind(StrEnum):
    """What the worker does with a job; each kind is a folder in worker/."""

    TRAINING = "training"
    PREDICTION = "prediction"


class Owner(Base):
    """Whoever submits jobs. Its row is what two of its requests at the same time wait for."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    last_claimed_at: Mapped[datetime | None]  # when a job of its was last given to a worker


class Job(Base):
    """One request to train. `attempt` is the fence: a worker writes only while the number is still its own."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("ix_jobs_head", "status", "owner", text("priority DESC"), "created_at", "id"),
        Index(None, "status", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "model", "created_at", "id"),
        Index(None, "training_digest", "status"),
        Index(None, "checkpoint_file"),
        Index(None, "retry_of"),
        Index(None, "events_trimmed", "ended_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"), default=ANONYMOUS)
    kind: Mapped[str] = mapped_column(String(20))
    model: Mapped[str] = mapped_column(String(100))
    spec: Mapped[Document]
    device: Mapped[str] = mapped_column(String(10))
    priority: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default=JobStatus.QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)
    consecutive_lost_attempts: Mapped[int] = mapped_column(
        default=0
    )  # attempts in a row that were lost and came no further
    lost_attempts: Mapped[int] = mapped_column(default=0)  # all of them
    stop_asked: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    scheduled_at: Mapped[datetime | None]  # not to be claimed before
    checkpoint_file: Mapped[str | None] = mapped_column(ForeignKey("tracked_files.sha256"))
    checkpoint_epoch: Mapped[int] = mapped_column(default=0)  # whole epochs that are in it
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"))
    progress: Mapped[Document | None]
    error: Mapped[Document | None]
    last_event: Mapped[int] = mapped_column(default=0)
    events_trimmed: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    spec_digest: Mapped[str] = mapped_column(String(64))
    training_digest: Mapped[str] = mapped_column(String(64))
    reproduces: Mapped[Document | None]  # the model and number of a version that is to be trained once more
    reproduction: Mapped[Document | None]
    batch: Mapped[Document | None]  # of a job that predicts: the version, and how far it is
    created_at: Mapped[datetime] = mapped_column(default=now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    tags: Mapped[list["JobTag"]] = relationship(lazy="selectin", order_by="JobTag.key")
    version: Mapped["Version | None"] = relationship(lazy="selectin", viewonly=True)


class JobTag(Base):
    __tablename__ = "job_tags"
    __table_args__ = (Index(None, "key", "value", "created_at", "job_id"), Index(None, "key", "created_at", "job_id"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]  # the job's own, so that one index finds and sorts


class JobEpoch(Base):
    """One row of the curves; epochs count from 1."""

    __tablename__ = "job_epochs"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]
    learning_rate: Mapped[float]
    metrics: Mapped[Document]


class JobEvent(Base):
    """What a listener is told, numbered from 1 within its job."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    content: Mapped[Document]
    created_at: Mapped[datetime] = mapped_column(default=now())


class BatchFile(Base):
    """What a batch prediction reads."""

    __tablename__ = "batch_files"
    __table_args__ = (Index(None, "sha256"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class BatchPart(Base):
    """Some of what a batch prediction answered, in order: `rows` of JSON, of which so many `failed`."""

    __tablename__ = "batch_parts"
    __table_args__ = (Index(None, "sha256"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    rows: Mapped[int]
    failed: Mapped[int]


class WorkerProcess(Base):
    """A worker as it last said of itself; one that says no more has vanished."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    queues: Mapped[list[str]]
    started_at: Mapped[datetime] = mapped_column(default=now())
    heartbeat_at: Mapped[datetime] = mapped_column(default=now())
    ended_at: Mapped[datetime | None]
