"""Record and read the heartbeats of the workers."""

from pydantic import BaseModel
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, WorkerProcess

VANISHED_AFTER_SECONDS = 30.0
"""A worker without a heartbeat for this time has vanished. It sends one every 5 seconds."""
DELETED_AFTER_SECONDS = 24 * 3600.0
"""A worker without a heartbeat for this time is no longer listed."""


class GpuUsage(BaseModel):
    """The usage of a GPU. Memory is in bytes."""

    name: str
    percent: float
    memory_used: int
    memory_total: int


class Usage(BaseModel):
    """The usage of the machine of a worker. `cpu_percent` is that of all processors together; memory is in bytes."""

    cpu_percent: float
    cpus: int
    memory_used: int
    memory_total: int
    gpus: tuple[GpuUsage, ...] = ()


def record_heartbeat(
    session: Session, name: str, host: str, queues: tuple[str, ...], usage: Usage | None = None
) -> None:
    """Record that a worker is alive, and what its machine uses. Its first heartbeat inserts it."""
    measured = usage.model_dump() if usage is not None else None
    heartbeat = update(WorkerProcess).where(WorkerProcess.name == name)
    heartbeat = heartbeat.values(heartbeat_at=now(), ended_at=None, usage=measured)
    if session.execute(heartbeat.returning(WorkerProcess.name)).one_or_none() is None:
        session.add(WorkerProcess(name=name, host=host, queues=list(queues), usage=measured))


def record_exit(session: Session, name: str) -> None:
    """Record that a worker has shut down."""
    session.execute(update(WorkerProcess).where(WorkerProcess.name == name).values(ended_at=now()))


def list_workers(session: Session) -> list[tuple[WorkerProcess, bool, Job | None]]:
    """List the workers, the newest first: each with True if its heartbeat is recent, and with its job or None.

    The jobs are those of all projects.
    """
    alive = WorkerProcess.heartbeat_at > now(-VANISHED_AFTER_SECONDS)
    query = select(WorkerProcess, alive).order_by(WorkerProcess.started_at.desc(), WorkerProcess.name)
    workers = session.execute(query).all()
    names = [worker.name for worker, _ in workers]
    running = session.scalars(select(Job).where(Job.status.in_(HELD), Job.worker.in_(names)), execution_options=OF_ALL)
    held = {job.worker: job for job in running}
    return [(worker, bool(is_alive), held.get(worker.name)) for worker, is_alive in workers]


def delete_expired(session: Session) -> None:
    """Delete the workers without a heartbeat for DELETED_AFTER_SECONDS."""
    session.execute(delete(WorkerProcess).where(WorkerProcess.heartbeat_at < now(-DELETED_AFTER_SECONDS)))
