"""Define the tables of jobs, their events and files, their owners, and the workers."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database.tables.base import Base, Document, Visibility, now
from shared.database.tables.registry import Version


class JobStatus(StrEnum):
    """Status of a job.

    `stopping`: the job ends early and keeps its result so far. `cancelling`: the job ends without a result.
    """

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


HELD = frozenset({JobStatus.RUNNING, JobStatus.STOPPING, JobStatus.CANCELLING})
"""The statuses of a job that belongs to a worker, until its lease expires."""
ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
"""The final statuses."""
ANONYMOUS = "anonymous"
"""The owner of all jobs if TRAINYARD_OWNER_HEADER is not set."""


class JobKind(StrEnum):
    """Kind of a job: a training, a batch prediction, an import, or one that adds a file to a version."""

    TRAINING = "training"
    PREDICTION = "prediction"
    EXPORT = "export"
    BASELINES = "baselines"
    IMPORT = "import"
    EVALUATION = "evaluation"


class Owner(Base):
    """An owner of jobs. A transaction that creates a job locks the row, so they are created one after another."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    last_claimed_at: Mapped[datetime | None]  # when a worker last claimed a job of this owner


class Job(Base):
    """A request to train a model, to predict in batch, or to export or compare a version.

    Attributes:
        attempt: number of claims so far. It is the fencing token: a worker may write only while this is its own number.
        last_event: number of the newest event.
        project: that of the model. Its members see the job, as far as `visibility` says so.
        notes: those of the spec, until they are edited. The spec keeps those that were sent.
        events_trimmed: whether the progress and the log lines were deleted.
        spec_digest: sha256 of the request. It tells whether an idempotency key comes with the same request again.
        training_digest: sha256 of all that determines the weights and the model; empty for other kinds.
        dataset_revision_id: the revision of the uploaded data set that the spec names. Its deletion is refused while
            the job has not ended; afterwards it clears the column.
        validation_revision_id: the revision that `validation` of the spec names, likewise.
        inline_file: digest of the file with the inline data of the spec, if they are too large for the database.
        cross_validation: the id of the first job of the same cross-validation; None for other jobs.
        weights_file: digest of the uploaded weights that the spec names, or those of an import.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("ix_jobs_head", "status", "owner", text("priority DESC"), "created_at", "id"),
        Index(None, "status", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "model", "created_at", "id"),
        Index(None, "project", "created_at", "id"),
        Index(None, "owner", "created_at", "id"),
        Index(None, "training_digest", "status"),
        Index(None, "checkpoint_file"),
        Index(None, "dataset_revision_id"),
        Index(None, "validation_revision_id"),
        Index(None, "inline_file"),
        Index(None, "weights_file"),
        Index(None, "retry_of"),
        Index(None, "cross_validation"),
        Index(None, "events_trimmed", "ended_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"), default=ANONYMOUS)
    kind: Mapped[str] = mapped_column(String(20))
    model: Mapped[str] = mapped_column(String(100))
    project: Mapped[str] = mapped_column(String(100), default="default", server_default="default")
    visibility: Mapped[str] = mapped_column(
        String(20), default=Visibility.PROJECT, server_default=Visibility.PROJECT.value
    )
    spec: Mapped[Document]
    dataset_revision_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_revisions.id"))
    validation_revision_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_revisions.id"))
    inline_file: Mapped[str | None] = mapped_column(ForeignKey("tracked_files.sha256"))
    weights_file: Mapped[str | None] = mapped_column(ForeignKey("tracked_files.sha256"))
    device: Mapped[str] = mapped_column(String(10))
    priority: Mapped[int]
    notes: Mapped[str] = mapped_column(Text, default="", server_default="")
    status: Mapped[str] = mapped_column(String(20), default=JobStatus.QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)
    consecutive_lost_attempts: Mapped[int] = mapped_column(default=0)  # in a row, without progress
    lost_attempts: Mapped[int] = mapped_column(default=0)  # in total
    stop_asked: Mapped[bool] = mapped_column(default=False)  # the request survives the loss of an attempt
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    held_at: Mapped[datetime | None]  # when the newest attempt has claimed it
    renewed_at: Mapped[datetime | None]  # the last sign of its life
    scheduled_at: Mapped[datetime | None]  # no worker claims the job before this time
    checkpoint_file: Mapped[str | None] = mapped_column(ForeignKey("tracked_files.sha256"))
    checkpoint_epoch: Mapped[int] = mapped_column(default=0)  # number of complete epochs in the checkpoint
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"))
    progress: Mapped[Document | None]
    error: Mapped[Document | None]
    last_event: Mapped[int] = mapped_column(default=0)
    events_trimmed: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    spec_digest: Mapped[str] = mapped_column(String(64))
    training_digest: Mapped[str] = mapped_column(String(64))
    cross_validation: Mapped[UUID | None]
    metrics: Mapped[Document | None]  # of a fold of a cross-validation that has succeeded: the fields of `Metrics`
    reproduces: Mapped[Document | None]  # model and number of the version that this job trains again
    reproduction: Mapped[Document | None]  # the fields of `Reproduction`, the result of that comparison
    batch: Mapped[Document | None]  # of a batch prediction: the fields of `BatchState`
    export: Mapped[Document | None]  # of an export that has succeeded: the fields of `ExportResult`
    created_at: Mapped[datetime] = mapped_column(default=now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    tags: Mapped[list["JobTag"]] = relationship(lazy="selectin", order_by="JobTag.key", cascade="all, delete-orphan")
    version: Mapped["Version | None"] = relationship(lazy="selectin", viewonly=True)


class JobTag(Base):
    __tablename__ = "job_tags"
    __table_args__ = (Index(None, "key", "value", "created_at", "job_id"), Index(None, "key", "created_at", "job_id"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]  # copy of Job.created_at, so that one index filters and sorts


class JobEpoch(Base):
    """Metrics of one epoch of a training. Epochs count from 1."""

    __tablename__ = "job_epochs"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]
    learning_rate: Mapped[float]
    metrics: Mapped[Document]


class JobEvent(Base):
    """An event of a job, for event streams and the log. Events of a job are numbered from 1."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    content: Mapped[Document]
    created_at: Mapped[datetime] = mapped_column(default=now())


class BatchFile(Base):
    """An input file of a batch prediction."""

    __tablename__ = "batch_files"
    __table_args__ = (Index(None, "sha256"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class BatchPart(Base):
    """A file with a part of the results of a batch prediction, one line of JSON for each row of the input.

    Attributes:
        number: position of the part, from 1.
        rows: number of rows in the part.
        failed: number of rows with a problem in place of a prediction.
    """

    __tablename__ = "batch_parts"
    __table_args__ = (Index(None, "sha256"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    rows: Mapped[int]
    failed: Mapped[int]


class WorkerProcess(Base):
    """A worker with its last heartbeat. A worker without a recent heartbeat has vanished."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    queues: Mapped[list[str]]
    usage: Mapped[Document | None]  # the fields of `Usage` at the last heartbeat
    started_at: Mapped[datetime] = mapped_column(default=now())
    heartbeat_at: Mapped[datetime] = mapped_column(default=now())
    ended_at: Mapped[datetime | None]
