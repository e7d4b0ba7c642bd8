"""The tables of the registry. Times are UTC, by the database's clock."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Document = dict[str, Any]


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite keeps no time zone: what comes back is said to be UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class now(FunctionElement[datetime]):  # noqa: N801 - it stands in SQL, as a function
    """The database's clock, so many seconds on: no worker's own clock decides anything."""

    type = UtcDateTime()
    inherit_cache = False

    def __init__(self, plus_seconds: float = 0) -> None:
        super().__init__()
        self.plus_seconds = float(plus_seconds)


@compiles(now, "postgresql")
def _now_in_postgresql(element: now, _: SQLCompiler, **__: object) -> str:
    return f"(clock_timestamp() + interval '{element.plus_seconds} seconds')"


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, _: SQLCompiler, **__: object) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.plus_seconds:+} seconds')"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        Document: JSON(none_as_null=True),
        list[str]: JSON,
    }


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


class Owner(Base):
    """Whoever submits jobs. Its row is what two of its requests at the same time wait for."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    served_at: Mapped[datetime | None]  # when a job of its was last given to a worker


class KeptFile(Base):
    """A file in the artifact store, announced here before it is written there, and forgotten here before it is removed.

    What a version, a data set or a job names cannot be forgotten: the database sees to it.
    """

    __tablename__ = "kept_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    touched_at: Mapped[datetime] = mapped_column(default=now())


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
    model: Mapped[str] = mapped_column(String(100))
    spec: Mapped[Document]
    device: Mapped[str] = mapped_column(String(10))
    priority: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default=JobStatus.QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)  # attempts in a row that were lost and came no further
    lost_attempts: Mapped[int] = mapped_column(default=0)  # all of them
    stop_asked: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]  # not to be claimed before
    checkpoint_file: Mapped[str | None] = mapped_column(ForeignKey("kept_files.sha256"))
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
    sha256: Mapped[str] = mapped_column(ForeignKey("kept_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class BatchPart(Base):
    """Some of what a batch prediction answered, in order: `rows` of JSON, of which so many `failed`."""

    __tablename__ = "batch_parts"
    __table_args__ = (Index(None, "sha256"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(ForeignKey("kept_files.sha256"))
    rows: Mapped[int]
    failed: Mapped[int]


class Model(Base):
    """A registered name; `last_number` only grows, so that no number is given out twice."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now())


class Version(Base):
    """Published weights. A job has one version at the most, and the database sees to it."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"), UniqueConstraint("job_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    number: Mapped[int]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    description: Mapped[Document]
    created_at: Mapped[datetime] = mapped_column(default=now())
    files: Mapped[list["VersionFile"]] = relationship(lazy="selectin", order_by="VersionFile.name")


class VersionFile(Base):
    __tablename__ = "version_files"
    __table_args__ = (Index(None, "sha256"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("kept_files.sha256"))
    size_bytes: Mapped[int]


class Alias(Base):
    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),)

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    number: Mapped[int]


class DatasetName(Base):
    """A data set that users brought; `last_number` only grows."""

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)


class Revision(Base):
    """What was brought at one time. It never changes, and the same content twice is one revision."""

    __tablename__ = "dataset_revisions"
    __table_args__ = (UniqueConstraint("dataset", "number"), UniqueConstraint("dataset", "digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(ForeignKey("datasets.name"))
    number: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    facts: Mapped[Document]
    description: Mapped[Document]
    created_at: Mapped[datetime] = mapped_column(default=now())
    files: Mapped[list["RevisionFile"]] = relationship(lazy="selectin", order_by="RevisionFile.name")


class RevisionFile(Base):
    __tablename__ = "dataset_files"
    __table_args__ = (Index(None, "sha256"),)

    revision_id: Mapped[int] = mapped_column(ForeignKey("dataset_revisions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("kept_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class WorkerProcess(Base):
    """A worker as it last said of itself; one that says no more has vanished."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    queues: Mapped[list[str]]
    started_at: Mapped[datetime] = mapped_column(default=now())
    heartbeat_at: Mapped[datetime] = mapped_column(default=now())
    ended_at: Mapped[datetime | None]
