"""Define the documents about jobs, and load the document of a job."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api.documents.base import Document, JobProblem
from api.documents.thinning import choose_points
from shared.database.engine import Sessions
from shared.database.tables.base import Visibility
from shared.database.tables.jobs import Job, JobKind, JobStatus
from shared.devices import Device
from shared.jobs import events, queries
from shared.jobs.events import EpochReport
from shared.jobs.queue import wait_estimate
from shared.jobs.queue.order import QueuedJob, QueueReason
from shared.jobs.workers import VANISHED_AFTER_SECONDS
from shared.registry import versions
from shared.registry.evaluation import EVALUATION_FILE
from shared.registry.exports import ExportResult
from shared.registry.manifest import Metrics
from shared.registry.reproduction import Reproduction
from shared.spec.evaluation import EvaluationSpec

MAX_READ_EPOCHS = 5_000
SHOWN_DIGITS = 6
"""The significant digits of the values in columns."""


class TrainingProgress(Document):
    """The progress of a training.

    `epoch` and `batch` count from 1. `metrics` are the metrics of this epoch so far. `percent` is the progress of the
    whole training.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    percent: float
    seconds_left: float | None
    metrics: dict[str, float | None]


class BatchProgress(Document):
    """The progress of a batch prediction: `done` of `rows` inputs are done. `failed` of them have a problem."""

    rows: int
    done: int
    failed: int
    percent: float
    seconds_left: float | None


class BatchDocument(Document):
    """The state of a batch prediction by `version`.

    The results of `done` of `rows` inputs can be downloaded. `failed` of them have a problem as result.
    """

    version: int
    rows: int
    done: int
    failed: int


class JobSummary(Document):
    """A job in a list.

    `version` is the number of the version that the job has published; `candidate` tells whether it has one without a
    number, which can be published. `checkpoint_epoch` is the number of complete
    epochs in its checkpoint, from which the next attempt or a retry resumes. `retry_of` is the job that it retries.
    """

    id: UUID
    kind: JobKind
    owner: str
    project: str
    visibility: Visibility = Field(description="Who sees the job: its owner, its project, or every user.")
    model: str
    status: JobStatus
    attempt: int
    checkpoint_epoch: int
    retry_of: UUID | None
    progress: TrainingProgress | BatchProgress | None
    batch: BatchDocument | None = Field(description="The state of a batch prediction; null for a training.")
    error: JobProblem | None
    version: int | None
    candidate: bool
    device: Device
    priority: int
    tags: dict[str, str]
    notes: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def from_job(cls, job: Job, **known: object) -> Self:
        """Build the document from the row of a job. `known` are fields that the row does not contain."""
        return cls.model_validate(
            {
                **{name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)},
                "version": job.version.number if job.version is not None else None,
                "candidate": job.version is not None and job.version.number is None,
                "tags": {tag.key: tag.value for tag in job.tags},
                "ready_at": job.scheduled_at,
                **known,
            }
        )


class VersionReference(Document):
    """A version of a model."""

    model: str
    version: int


class JobDocument(JobSummary):
    """A job.

    `reproduces` is the version that the job trains again, null for other jobs. `reproduction` is the comparison with
    this version after the training.
    """

    place: int | None = Field(
        default=None, description="Position of a queued job, 1 for the next job to run; null for other jobs."
    )
    seconds_to_start: float | None = Field(
        default=None,
        description=(
            "Estimated wait of a queued job, from the duration of earlier jobs of the same models, rounded to two "
            "digits; null without an estimate."
        ),
    )
    seconds_to_start_range: tuple[float, float] | None = Field(
        default=None, description="The interval in which the wait probably lies; null without an estimate."
    )
    metrics: Metrics | None = Field(
        default=None,
        description="Loss and metrics of the version that a training has published, or of a fold; else null.",
    )
    links: dict[str, str] = Field(
        default={},
        description="Paths of what belongs to the job: its events, log and metrics; after a training also its curves, "
        "version and evaluation; the results of a batch prediction; the version and the file of an export.",
    )
    ready_at: datetime | None = Field(
        description="The earliest start of the next attempt after a lost attempt; null if the job need not wait for it."
    )
    worker: str | None
    spec: dict[str, Any] = Field(
        description="The spec with all defaults, and with the numbers of the revision and the version that it names."
    )
    last_event: int = Field(
        description="The number of the newest event. A stream of events with this `after` begins with the next one."
    )
    reproduces: VersionReference | None
    reproduction: Reproduction | None
    export: ExportResult | None = Field(
        default=None, description="What an export has written and measured; null for other jobs, and until it succeeds."
    )


class ChangedJob(JobSummary):
    """A job in the stream of all changes."""

    place: int | None = Field(
        default=None, description="Position of one of the first 100 queued jobs, 1 for the next; null for other jobs."
    )


def write_change(job: Job, place: int | None) -> str:
    """Write a job with its place in the queue as JSON, for the stream of all changes."""
    return ChangedJob.from_job(job, place=place).model_dump_json()


class QueuedJobDocument(JobSummary):
    """A queued job, with its place and the reason of it."""

    place: int = Field(description="Position in the queue, 1 for the next job to run.")
    turn: int = Field(
        description="1 for the first job of its owner at this priority, counted with the jobs of the owner that run. "
        "Owners take turns: a job of turn 1 starts before one of turn 2."
    )
    reason: QueueReason = Field(
        description="Why the job has this place. `delayed`: it waits after a lost attempt, until `ready_at`. "
        "`priority`: its priority is not 0. `turn`: its turn is not 1. `age`: it is the oldest that is left."
    )
    ready_at: datetime | None
    seconds_to_start: float | None = Field(description="Estimated wait, rounded; null without an estimate.")
    seconds_to_start_range: tuple[float, float] | None


class JobQueue(Document):
    """The first jobs of the queue, in the order in which they start. `total` is the number of all queued jobs."""

    jobs: list[QueuedJobDocument]
    total: int


class JobList(Document):
    """A page of jobs. `next` is the cursor of the next page; null if no page follows."""

    jobs: list[JobSummary]
    next: str | None


class EpochDocument(Document):
    """A trained epoch. The names of validation metrics begin with `val_`."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


class EpochList(Document):
    """A page of epochs. `next` is the cursor of the next page; null if no page follows."""

    epochs: list[EpochDocument]
    next: str | None


class EpochColumns(Document):
    """The metrics of the epochs of a job as columns of one length. The names of validation metrics begin with `val_`.

    A value that is not finite is null, and so is a metric that an epoch does not have.
    """

    epochs: list[int] = Field(description="The numbers of the epochs. Of many epochs, some are left out.")
    seconds: list[float]
    learning_rate: list[float]
    metrics: dict[str, list[float | None]]
    trained: int = Field(description="The number of all trained epochs.")
    last_event: int = Field(description="The number of the newest event of the job.")


def format_queued(queued: QueuedJob) -> QueuedJobDocument:
    """Build the document of a queued job."""
    wait = queued.wait
    return QueuedJobDocument.from_job(
        queued.job,
        place=queued.place,
        turn=queued.turn,
        reason=queued.reason,
        seconds_to_start=wait.usual if wait is not None else None,
        seconds_to_start_range=(wait.shortest, wait.longest) if wait is not None else None,
    )


def load_columns(session: Session, job: Job, points: int) -> EpochColumns:
    """Load the metrics of a job as columns, at most `points` long.

    Up to MAX_READ_EPOCHS epochs, the smallest and the largest values are kept; of more, some are read.
    """
    epochs = events.list_evenly(session, job.id, MAX_READ_EPOCHS)
    return _make_columns(epochs, job.last_event, points)


def _make_columns(epochs: Sequence[EpochReport], last_event: int, points: int) -> EpochColumns:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    metrics: dict[str, list[float | None]] = {name: [epoch.metrics.get(name) for epoch in epochs] for name in names}
    chosen = choose_points(metrics, len(epochs), points)
    return EpochColumns(
        epochs=[epochs[place].epoch for place in chosen],
        seconds=[round(epochs[place].seconds, 3) for place in chosen],
        learning_rate=[_shorten(epochs[place].learning_rate) for place in chosen],
        metrics={
            name: [None if (value := values[place]) is None else _shorten(value) for place in chosen]
            for name, values in metrics.items()
        },
        trained=epochs[-1].epoch if epochs else 0,
        last_event=last_event,
    )


def _shorten(value: float) -> float:
    return float(f"{value:.{SHOWN_DIGITS}g}")


def load_job(sessions: Sessions, job_id: UUID) -> JobDocument:
    """Load the document of a job, with its position if it is queued. Raises JobNotFound."""
    with sessions() as session:
        job = queries.get_job(session, job_id)
        standing = wait_estimate.get_queue_position(session, job, VANISHED_AFTER_SECONDS)
        metrics = versions.get_metrics(session, [job.version])[0] if job.version is not None else job.metrics
        links = _list_links(job)
    known: dict[str, object] = {"links": links, "metrics": metrics}
    if standing is not None:
        known["place"] = standing.place
        if standing.wait is not None:
            known["seconds_to_start"] = standing.wait.usual
            known["seconds_to_start_range"] = (standing.wait.shortest, standing.wait.longest)
    return JobDocument.from_job(job, **known)


def _list_links(job: Job) -> dict[str, str]:
    """List the paths of what belongs to a job."""
    path = f"/api/v1/jobs/{job.id}"
    links = {"self": path, "events": f"{path}/events", "log": f"{path}/log"}
    if job.kind == JobKind.PREDICTION:
        return {**links, "predictions": f"{path}/predictions.jsonl"}
    if job.kind == JobKind.EVALUATION:
        version = f"/api/v1/models/{job.model}/versions/{job.spec['version']}"
        key = EvaluationSpec.model_validate(job.spec).key
        done = {"evaluation": f"{version}/evaluations/{key}"} if job.status == JobStatus.SUCCEEDED else {}
        return {**links, "version": version, **done}
    if job.kind == JobKind.BASELINES:
        version = f"/api/v1/models/{job.model}/versions/{job.spec['version']}"
        return {**links, "version": version, "baselines": f"{version}/baselines"}
    if job.kind == JobKind.EXPORT:
        version = f"/api/v1/models/{job.model}/versions/{job.spec['version']}"
        file = {"file": f"{version}/files/{job.export['file']}"} if job.export is not None else {}
        return {**links, "version": version, **file}
    links["metrics"] = f"{path}/metrics"
    if job.cross_validation is not None:
        links["cross_validation"] = f"{path}/cross-validation"
    if (job.progress or {}).get("epoch"):
        links["curves"] = f"{path}/curves.svg"
    if job.version is None:
        return links
    links["version"] = f"/api/v1/models/{job.model}/versions/{job.version.reference}"
    if any(file.name == EVALUATION_FILE for file in job.version.files):
        links["evaluation"] = f"{links['version']}/evaluation"
    return links
