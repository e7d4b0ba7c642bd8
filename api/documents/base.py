"""What the API answers: one pydantic model for each document."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from api.planner.messages import LayerRow
from shared.database.tables.jobs import Job, JobStatus, WorkerProcess
from shared.datasets.info import TargetKind
from shared.preprocessing.contract import Contract
from shared.registry.manifest import Epochs, Lineage, Metrics, Signature
from shared.registry.reproduction import Reproduction
from shared.spec.training import Precision


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class PlaceAtFault(Document):
    pointer: str = Field(description="JSON pointer into what was sent", examples=["#/network/layers/3"])
    detail: str


class Problem(Document):
    """RFC 9457. What is not known is left out."""

    type: str = Field(description="What went wrong, as a path that never changes", examples=["/problems/job-not-found"])
    title: str
    status: int | None = None
    detail: str
    errors: list[PlaceAtFault] | None = None
    request_id: str | None = None

    @model_serializer(mode="wrap")
    def _without_unknowns(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


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
    kind: Literal["training", "prediction"]
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
    def of(cls, job: Job, **known: object) -> Self:
        return cls.model_validate(
            {
                **{name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)},
                "kind": "training" if job.batch is None else "prediction",
                "version": job.version.number if job.version is not None else None,
                "tags": {tag.key: tag.value for tag in job.tags},
                "notes": job.spec["notes"],
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


class WorkerDocument(Document):
    name: str
    host: str
    devices: list[str] = Field(description="What it trains on")
    state: Literal["idle", "training", "vanished", "ended"] = Field(
        description="`vanished`: it has not been heard of; its job is queued again once its lease runs out"
    )
    job: UUID | None
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, worker: WorkerProcess, is_alive: bool, job: Job | None) -> Self:  # noqa: FBT001 - as it was found
        known = {name: getattr(worker, name) for name in ("name", "host", "started_at", "heartbeat_at", "ended_at")}
        here = "training" if job is not None else "idle"
        state = "ended" if worker.ended_at is not None else here if is_alive else "vanished"
        return cls(**known, devices=worker.queues, state=state, job=job.id if job is not None else None)


class WorkerList(Document):
    workers: list[WorkerDocument]


class EpochDocument(Document):
    """Validation metrics carry the prefix `val_`."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


class EpochList(Document):
    epochs: list[EpochDocument]
    next: str | None


class ModelDocument(Document):
    name: str
    latest: int = Field(description="The number of the newest version")
    versions: int = Field(description="How many there are")
    aliases: dict[str, int]
    created_at: datetime


class ModelList(Document):
    models: list[ModelDocument]
    next: str | None


class FileDocument(Document):
    name: str
    size: int = Field(description="Bytes")
    sha256: str
    href: str


class VersionSummary(Document):
    model: str
    version: int
    aliases: list[str]
    metrics: Metrics
    created_at: datetime


class VersionDocument(VersionSummary):
    """`classes` is empty for a version that answers numbers."""

    classes: list[str]
    columns: list[str] = Field(default=[], description="Of a table whose columns had names")
    preprocessing: Contract
    signature: Signature
    parameters: int
    trainable_parameters: int
    epochs: Epochs
    precision: Precision = Field(description="Of the training; all that is done with the weights is float32")
    weights_digest: str = Field(description="sha256 of all arrays")
    confidence_threshold: float | None = Field(
        default=None, description="Of the test rows answered with less, at least half were answered wrongly"
    )
    lineage: Lineage
    files: list[FileDocument]


class LayerList(Document):
    """In the order of the network; shapes are without the batch."""

    layers: list[LayerRow]
    parameters: int
    trainable_parameters: int


class SelfTest(Document):
    """The golden samples once more, through the path that serves; what does not pass is not served."""

    model: str
    version: int
    passed: bool
    samples: int = Field(description="How many there are; 0 where the version's files cannot be read")
    difference: float | None = Field(description="The largest from what Keras answered when the version was made")
    tolerance: float
    detail: str | None = Field(description="Why it did not pass")


class VersionList(Document):
    versions: list[VersionSummary]
    next: str | None


class Mistake(Document):
    """A test row that was taken for another class; `index` is its place in the test part, from 0."""

    index: int
    true: str
    predicted: str
    probability: float = Field(description="Of the class predicted")


class MistakeList(Document):
    mistakes: list[Mistake]
    next: str | None


class ClassRows(Document):
    label: str
    train_rows: int
    test_rows: int


class RevisionDocument(Document):
    """`shape` is that of one row, its sides null where every image has a size of its own; `columns` are a table's."""

    name: str
    revision: int
    reference: str = Field(description="What a spec's `dataset.name` may be", examples=["flowers@2"])
    kind: Literal["images", "numbers"]
    targets: TargetKind
    shape: tuple[int | None, ...]
    train_rows: int
    test_rows: int
    classes: list[ClassRows] = Field(description="Or the whole numbers that occur; none for other numbers")
    columns: list[str]
    label: str | None = Field(description="The column of the labels")
    ignored: list[str] = Field(description="Members of the archive that are no data, 100 at the most")
    digest: str = Field(description="sha256 of all that a training could see")
    created_at: datetime


class DatasetDocument(Document):
    """Revisions never change; the newest comes first."""

    name: str
    revisions: list[RevisionDocument]


class DatasetList(Document):
    datasets: list[DatasetDocument]
    next: str | None


class AliasTarget(BaseModel):
    """Where an alias is to point."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(strict=True, ge=1)


class AliasDocument(Document):
    model: str
    alias: str
    version: int


class ClassProbability(Document):
    """`class` is the place among the version's classes, from 0."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    label: str
    class_: int = Field(alias="class")
    probability: float


class Prediction(ClassProbability):
    top: list[ClassProbability]
    warnings: list[str] = []


class NumericPrediction(Document):
    """What a regression answers: a number, or a list of them."""

    value: float | list[float]
    warnings: list[str] = []


class FailedPrediction(Document):
    """Stands in the place of an input that could not be read."""

    problem: Problem


class Predictions(Document):
    """In the order of the inputs."""

    model: str
    version: int
    predictions: list[Prediction | NumericPrediction | FailedPrediction]


class Check(Document):
    ready: bool
    detail: str | None = None


class Readiness(Document):
    ready: bool
    checks: dict[str, Check]
