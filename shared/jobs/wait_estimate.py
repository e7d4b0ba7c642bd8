"""Estimate how long a queued job waits."""

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, JobStatus, Owner, WorkerProcess
from shared.devices import Device, devices_taken_from
from shared.jobs.scheduling import count_running

MOST_LOOKED_AT = 1000
"""Jobs ahead, of which each is timed by its like."""
SIMILAR_JOBS = 10
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Standing:
    """`place` is 1 for the next to run. `seconds` until it starts is None where there is nothing to measure by: no
    worker that could take it, or nothing like the jobs ahead that has ever ended.
    """

    place: int
    seconds: float | None


def standing(session: Session, job: Job, silence_seconds: float) -> Standing | None:
    """None for a job that is not queued. A worker that was silent for so long has vanished."""
    if job.status != JobStatus.QUEUED:
        return None
    devices = list(Device) if job.device == Device.AUTO else [Device(job.device), Device.AUTO]
    ahead = _alike_ahead(session, job, devices)
    return Standing(len(ahead) + 1, _seconds_until(session, job, ahead, silence_seconds))


Like = tuple[str, bool]
"""The model of a job, and whether it predicts: what took how long is told apart by them."""


def _alike_ahead(session: Session, job: Job, devices: list[Device]) -> list[Like]:
    """Of the jobs whose turn comes before, in that order, as if every owner had one turn after another."""
    rank = func.row_number().over(partition_by=(Job.owner, Job.priority), order_by=(Job.created_at, Job.id))
    line = (
        select(
            Job.id,
            Job.model,
            Job.batch.is_not(None).label("predicts"),
            Job.priority,
            Job.created_at,
            func.coalesce(Owner.served_at, LONG_AGO).label("served_at"),
            (rank + count_running(Job.owner)).label("turn"),
        )
        .join(Owner, Owner.name == Job.owner)
        .where(Job.status == JobStatus.QUEUED, Job.device.in_(devices), Job.priority >= job.priority)
        .cte("line")
    )
    mine = line.alias("mine")
    turns = ("turn", "served_at", "created_at", "id")
    sooner = [
        and_(*(line.c[same] == mine.c[same] for same in turns[:place]), line.c[name] < mine.c[name])
        for place, name in enumerate(turns)
    ]
    before = or_(line.c.priority > mine.c.priority, *sooner)
    query = select(line.c.model, line.c.predicts).join(mine, and_(mine.c.id == job.id, before))
    rows = session.execute(query.order_by(line.c.priority.desc(), *(line.c[name] for name in turns)))
    return [(model, bool(predicts)) for model, predicts in rows]


def _seconds_until(session: Session, job: Job, ahead: list[Like], silence_seconds: float) -> float | None:
    """As if the workers that are there took the jobs ahead one after another, each as long as its like took."""
    usual: dict[Like, float | None] = {}

    def seconds_of(like: Like) -> float | None:
        if like not in usual:
            usual[like] = _usual_seconds(session, like)
        return usual[like]

    free_in = [
        0.0
        if running is None
        else _seconds_left(session, running, seconds_of((running.model, running.batch is not None)))
        for running in _jobs_of_workers(session, job, silence_seconds)
    ]
    times = [seconds_of(like) for like in ahead[:MOST_LOOKED_AT]]
    if not free_in or None in times or None in free_in or len(ahead) > MOST_LOOKED_AT:
        return None
    heap = [seconds for seconds in free_in if seconds is not None]
    heapq.heapify(heap)
    for seconds in times:
        heapq.heapreplace(heap, heap[0] + (seconds or 0.0))
    return heap[0]


def _jobs_of_workers(session: Session, job: Job, silence_seconds: float) -> list[Job | None]:
    """For each worker that could take the job, what it runs now."""
    alive = WorkerProcess.heartbeat_at > now(-silence_seconds)
    workers = session.scalars(select(WorkerProcess).where(alive, WorkerProcess.ended_at.is_(None)))
    names = [worker.name for worker in workers if job.device in devices_taken_from(tuple(worker.queues))]
    running = select(Job).where(Job.status.in_(HELD), Job.worker.in_(names))
    held = {held.worker: held for held in session.scalars(running)}
    return [held.get(name) for name in names]


def _seconds_left(session: Session, running: Job, usual: float | None) -> float | None:
    """As the training itself tells, or by its like."""
    left = (running.progress or {}).get("seconds_left")
    if left is not None:
        return float(left)
    if usual is None or running.started_at is None:
        return None
    return max(0.0, usual - (_time(session) - running.started_at).total_seconds())


def _like(job: Job) -> Like:
    return job.model, job.batch is not None


def _usual_seconds(session: Session, like: Like) -> float | None:
    """The median of the last of this kind and model, or else of all of this kind."""
    model, predicts = like
    same_kind = Job.batch.is_not(None) if predicts else Job.batch.is_(None)
    ended = select(Job.started_at, Job.ended_at).where(Job.status == JobStatus.SUCCEEDED, same_kind).limit(SIMILAR_JOBS)
    ended = ended.order_by(Job.created_at.desc(), Job.id.desc())
    rows = session.execute(ended.where(Job.model == model)).all() or session.execute(ended).all()
    seconds = [(end - start).total_seconds() for start, end in rows if start is not None and end is not None]
    return median(seconds) if seconds else None


def _time(session: Session) -> datetime:
    """The database's."""
    return session.scalars(select(now())).one()
