"""Define the documents about jobs, and load a job as one."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field

from api.documents.base import Document, Problem
from shared.database.engine import Sessions
from shared.database.tables.jobs import Job, JobKind, JobStatus
from shared.jobs import queries, wait_estimate
from shared.jobs.workers import VANISHED_AFTER_SECONDS
from shared.registry.reproduction import Reproduction


class Progress(Document):
    """Epochs and batches count from 1; metrics are those of the running epoch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    percent: float
    seconds_left: float | None
    metrics: dict[str, float | None]


class BatchProgress(Document):
    """`done` of `rows` inputs are answered, some of them by a problem: those have `failed`."""

    rows: int
    done: int
    failed: int
    percent: float
    seconds_left: float | None


class BatchDocument(Document):
    """By which version, and how many of the answers can be had by now."""

    version: int
    rows: int
    done: int
    failed: int


class JobSummary(Document):
    """`version` is the number it published; `checkpoint_epoch` how many whole epochs need not be trained again."""

    id: UUID
    kind: JobKind
    owner: str
    model: str
    status: JobStatus
    attempt: int
    checkpoint_epoch: int
    retry_of: UUID | None
    progress: Progress | BatchProgress | None
    batch: BatchDocument | None = Field(description="Of a job that predicts")
    error: Problem | None
    version: int | None
    device: str
    priority: int
    tags: dict[str, str]
    notes: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def from_job(cls, job: Job, **known: object) -> Self:
        """Build the document of a job; `known` has what does not stand in its row."""
        return cls.model_validate(
            {
                **{name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)},
                "version": job.version.number if job.version is not None else None,
                "tags": {tag.key: tag.value for tag in job.tags},
                "notes": job.spec["notes"],
                "ready_at": job.scheduled_at,
                **known,
            }
        )


class VersionReference(Document):
    model: str
    version: int


class JobDocument(JobSummary):
    """`reproduces` is the version that the job trains once more, and `reproduction` what that came to."""

    place: int | None = Field(default=None, description="1 for the next to run; only a queued job has one")
    seconds_to_start: float | None = Field(
        default=None,
        description="Of a queued job, by how long its like took; null where there is nothing to measure by",
    )
    ready_at: datetime | None = Field(description="Of a job that waits after a lost attempt: not before then")
    worker: str | None
    spec: dict[str, Any] = Field(description="As it was understood, every default filled in")
    reproduces: VersionReference | None
    reproduction: Reproduction | None


class JobList(Document):
    jobs: list[JobSummary]
    next: str | None


class EpochDocument(Document):
    """Validation metrics carry the prefix `val_`."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


class EpochList(Document):
    epochs: list[EpochDocument]
    next: str | None


def load_job(sessions: Sessions, job_id: UUID) -> JobDocument:
    """Load a job as a document, with its position in the queue. Raises JobNotFound."""
    with sessions() as session:
        job = queries.get_job(session, job_id)
        standing = wait_estimate.get_queue_position(session, job, VANISHED_AFTER_SECONDS)
    if standing is None:
        return JobDocument.from_job(job)
    return JobDocument.from_job(job, place=standing.place, seconds_to_start=standing.seconds)
