"""Define the documents about workers and health."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from api.documents.base import Document
from shared.access.rights import Role, Scope
from shared.access.visibility import Viewer
from shared.database.tables.jobs import Job, WorkerProcess
from shared.jobs.workers import Usage


class WorkerDocument(Document):
    """A worker, or one slot of a worker that runs several jobs.

    `job` is the job that it runs; null if it runs none, or one that the caller does not see.
    """

    name: str
    host: str
    devices: list[str] = Field(description="The devices that the worker uses.")
    state: Literal["idle", "training", "vanished", "ended"] = Field(
        description=(
            "`idle`: waits for a job. `training`: runs a job of any kind. `ended`: has shut down. "
            "`vanished`: sends no heartbeats; its job is queued again when the lease expires."
        )
    )
    job: UUID | None
    usage: Usage | None = Field(description="What its machine uses; null for workers of an earlier release.")
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None

    @classmethod
    def from_worker(cls, worker: WorkerProcess, is_alive: bool, job: Job | None, viewer: Viewer | None) -> Self:  # noqa: FBT001 - no option
        """Build the document from the row of a worker. `job` is the job that it runs; None if it runs none.

        `viewer` is who asks; None for somebody who sees every job.
        """
        is_shown = job is not None and (viewer is None or viewer.sees_job(job))
        known = {
            name: getattr(worker, name) for name in ("name", "host", "usage", "started_at", "heartbeat_at", "ended_at")
        }
        activity = "training" if job is not None else "idle"
        state = "ended" if worker.ended_at is not None else activity if is_alive else "vanished"
        return cls(**known, devices=worker.queues, state=state, job=job.id if job is not None and is_shown else None)


class WorkerList(Document):
    """All workers, the newest first."""

    workers: list[WorkerDocument]


class LossDocument(Document):
    """A loss. In its formula, y is the label and p the output; ln is the natural logarithm."""

    name: str
    formula: str
    use: str = Field(description="When to use it.")


class LossList(Document):
    """All losses."""

    losses: list[LossDocument]


class MetricDocument(Document):
    """A metric. In its formula, y is the label and p the output; TP, FP, TN and FN count right and wrong decisions."""

    name: str
    formula: str
    use: str = Field(description="When to use it.")


class MetricList(Document):
    """All metrics."""

    metrics: list[MetricDocument]


class ActivationDocument(Document):
    """An activation. In its formula, x is the input."""

    name: str
    formula: str
    use: str = Field(description="When to use it.")
    picture: str = Field(description="The path of a picture of the activation and its derivative.")


class ActivationList(Document):
    """All activations."""

    activations: list[ActivationDocument]


class HealthCheck(Document):
    """The result of a check. `detail` is the reason if `ready` is false."""

    ready: bool
    detail: str | None = None


class Liveness(Document):
    """The answer of a process that runs. `ready` is always true; `version` is the version of Trainyard."""

    ready: bool
    version: str


class Readiness(Document):
    """The results of all checks, by name. `version` is the version of Trainyard.

    `ready` is true if all checks except `versions` are ready: versions that cannot be served do not affect others.
    """

    ready: bool
    version: str
    checks: dict[str, HealthCheck]


class ProblemExplanation(Document):
    """What a type of problem means, with its remedy. `status` is null for the errors of jobs that failed."""

    type: str
    title: str
    status: int | None
    meaning: str


class Limits(Document):
    """Limits on what a client sends. A larger request is refused."""

    request_bytes: int = Field(description="The size of a request, except uploads of data sets.")
    image_bytes: int = Field(description="The size of an image.")
    image_pixels: int = Field(description="The pixels of an image.")
    dataset_bytes: int = Field(description="The size of an upload, also after unpacking.")
    dataset_files: int = Field(description="The files in a zip.")
    dataset_rows: int = Field(description="The rows of a table.")
    queued_jobs: int = Field(description="The queued jobs of one owner.")


class SignedIn(Document):
    """The user of the request."""

    login: str
    is_admin: bool
    projects: dict[str, Role] = Field(description="The roles by project. An admin needs none.")
    scopes: list[Scope] = Field(description="What the key of the request may do.")
    models: list[str] | None = Field(description="Patterns of the models that the key may ask; null for all.")
    key_id: str | None = Field(
        description="The key of the request, or the one with which the browser signed in; null without one."
    )


class Identity(Document):
    """The caller, and the limits that hold for it. `version` is the version of Trainyard."""

    owner: str
    user: SignedIn | None = Field(description="Null where nobody signs in.")
    version: str
    limits: Limits
