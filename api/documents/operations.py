"""Define the documents about workers and health."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from api.documents.base import Document
from shared.database.tables.jobs import Job, WorkerProcess


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
    def from_worker(cls, worker: WorkerProcess, is_alive: bool, job: Job | None) -> Self:  # noqa: FBT001 - as it was found
        known = {name: getattr(worker, name) for name in ("name", "host", "started_at", "heartbeat_at", "ended_at")}
        here = "training" if job is not None else "idle"
        state = "ended" if worker.ended_at is not None else here if is_alive else "vanished"
        return cls(**known, devices=worker.queues, state=state, job=job.id if job is not None else None)


class WorkerList(Document):
    workers: list[WorkerDocument]


class Check(Document):
    ready: bool
    detail: str | None = None


class Readiness(Document):
    ready: bool
    checks: dict[str, Check]
