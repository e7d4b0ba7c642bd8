"""Estimate how long a queued job waits."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor, log10
from statistics import median
from typing import NamedTuple

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.base import now
from shared.database.tables.jobs import HELD, Job, JobStatus, Owner, WorkerProcess
from shared.devices import Device, list_devices
from shared.jobs.queue.scheduling import count_running

MAX_JOBS_AHEAD = 1000
"""With more jobs ahead, no wait is estimated."""
SIMILAR_JOBS = 10
"""The duration of a job is that of this number of similar jobs: their median, shortest and longest."""
SPREAD_OF_ONE = 2.0
"""The duration of a single similar job may be wrong by this factor."""
SPREAD_OF_PROGRESS = 1.25
"""The rest of a running job, by its progress, may be wrong by this factor."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of the last claim for an owner without one: such owners come first."""


@dataclass(frozen=True)
class QueuePosition:
    """The position of a queued job, and the estimated time until it starts.

    Attributes:
        place: position in the queue, 1 for the next job to run.
        wait: estimated seconds. None without an estimate: no worker can run the job, the duration of a running job or a
            job ahead is unknown because no job of its kind and model has succeeded, or more than MAX_JOBS_AHEAD jobs
            are ahead.
    """

    place: int
    wait: "Wait | None"


class Wait(NamedTuple):
    """Seconds: the estimate, and the interval in which it probably lies. They are rounded to two digits."""

    usual: float
    shortest: float
    longest: float


def get_queue_position(session: Session, job: Job, silence_seconds: float) -> QueuePosition | None:
    """Estimate the position and the wait of a queued job. Returns None for other jobs.

    Workers without a heartbeat for `silence_seconds` are not counted.
    """
    if job.status != JobStatus.QUEUED:
        return None
    devices = list(Device) if job.device == Device.AUTO else [Device(job.device), Device.AUTO]
    ahead = _list_profiles_ahead(session, job, devices)
    return QueuePosition(len(ahead) + 1, _estimate_wait(session, job, ahead, silence_seconds))


JobProfile = tuple[str, str]
"""The kind and the model of a job. Jobs that share both are expected to take the same time."""


def _list_profiles_ahead(session: Session, job: Job, devices: list[Device]) -> list[JobProfile]:
    """List the profiles of the jobs that run before this job, in the order in which they start.

    The order is that of `select_next_job`: within a priority, the owners take turns. The limit of running jobs of an
    owner, and the delay after lost attempts, are ignored.
    """
    rank = func.row_number().over(partition_by=(Job.owner, Job.priority), order_by=(Job.created_at, Job.id))
    line = (
        select(
            Job.id,
            Job.model,
            Job.kind,
            Job.priority,
            Job.created_at,
            func.coalesce(Owner.last_claimed_at, LONG_AGO).label("last_claimed_at"),
            (rank + count_running(Job.owner)).label("turn"),
        )
        .join(Owner, Owner.name == Job.owner)
        .where(Job.status == JobStatus.QUEUED, Job.device.in_(devices), Job.priority >= job.priority)
        .cte("line")
    )
    mine = line.alias("mine")
    turns = ("turn", "last_claimed_at", "created_at", "id")
    sooner = [
        and_(*(line.c[same] == mine.c[same] for same in turns[:place]), line.c[name] < mine.c[name])
        for place, name in enumerate(turns)
    ]
    before = or_(line.c.priority > mine.c.priority, *sooner)
    query = select(line.c.kind, line.c.model).join(mine, and_(mine.c.id == job.id, before))
    query = query.order_by(line.c.priority.desc(), *(line.c[name] for name in turns))
    rows = session.execute(query, execution_options=OF_ALL)
    return [(kind, model) for kind, model in rows]


def _estimate_wait(session: Session, job: Job, ahead: list[JobProfile], silence_seconds: float) -> Wait | None:
    """Estimate the seconds until the job starts. Returns None without an estimate."""
    durations: dict[JobProfile, Wait | None] = {}

    def get_duration(profile: JobProfile) -> Wait | None:
        if profile not in durations:
            durations[profile] = _measure_duration(session, profile)
        return durations[profile]

    until_idle = [
        Wait(0.0, 0.0, 0.0)
        if running is None
        else _estimate_seconds_left(session, running, get_duration((running.kind, running.model)))
        for running in _list_jobs_of_workers(session, job, silence_seconds)
    ]
    times = [get_duration(profile) for profile in ahead[:MAX_JOBS_AHEAD]]
    if not until_idle or None in times or None in until_idle or len(ahead) > MAX_JOBS_AHEAD:
        return None
    known = [one for one in until_idle if one is not None], [one for one in times if one is not None]
    waits = (_simulate([one[place] for one in known[0]], [one[place] for one in known[1]]) for place in range(3))
    return Wait(*map(_round, waits))


def estimate_waits(session: Session, jobs: Sequence[Job], silence_seconds: float) -> list[Wait | None]:
    """Estimate the wait of each of the first jobs of the queue, which are given in its order.

    Each job is taken by the worker that is idle first, of those that can run it. None without an estimate: no worker
    can run the job, or the duration of a job before it on this worker is unknown.
    """
    durations: dict[JobProfile, Wait | None] = {}

    def get_duration(profile: JobProfile) -> Wait | None:
        if profile not in durations:
            durations[profile] = _measure_duration(session, profile)
        return durations[profile]

    workers = _list_alive(session, silence_seconds)
    running = _get_running(session, workers)
    until_idle: dict[str, Wait | None] = {}
    for worker in workers:
        held = running.get(worker.name)
        until_idle[worker.name] = (
            Wait(0.0, 0.0, 0.0)
            if held is None
            else _estimate_seconds_left(session, held, get_duration((held.kind, held.model)))
        )
    waits: list[Wait | None] = []
    for job in jobs:
        able = [worker.name for worker in workers if job.device in list_devices(tuple(worker.queues))]
        free = [(wait, name) for name in able if (wait := until_idle[name]) is not None]
        if not free or len(free) < len(able):
            waits.append(None)
            continue
        wait, name = min(free)
        waits.append(Wait(*map(_round, wait)))
        duration = get_duration((job.kind, job.model))
        until_idle[name] = (
            None if duration is None else Wait(*(one + other for one, other in zip(wait, duration, strict=True)))
        )
    return waits


def _simulate(until_idle: list[float], times: list[float]) -> float:
    """Return the seconds until a worker is idle: each time, the one that becomes idle first runs the next job ahead."""
    heapq.heapify(until_idle)
    for seconds in times:
        heapq.heapreplace(until_idle, until_idle[0] + seconds)
    return until_idle[0]


def _round(seconds: float) -> float:
    """Round to two significant digits, and to whole seconds."""
    if seconds < 1:
        return 0.0
    return round(seconds, min(0, 1 - floor(log10(seconds))))


def _list_jobs_of_workers(session: Session, job: Job, silence_seconds: float) -> list[Job | None]:
    """List the running job of each worker that can run `job`; None for an idle worker."""
    alive = _list_alive(session, silence_seconds)
    workers = [worker for worker in alive if job.device in list_devices(tuple(worker.queues))]
    running = _get_running(session, workers)
    return [running.get(worker.name) for worker in workers]


def _list_alive(session: Session, silence_seconds: float) -> list[WorkerProcess]:
    """List the workers with a heartbeat in the last `silence_seconds`, ordered by name."""
    alive = WorkerProcess.heartbeat_at > now(-silence_seconds)
    query = select(WorkerProcess).where(alive, WorkerProcess.ended_at.is_(None)).order_by(WorkerProcess.name)
    return list(session.scalars(query))


def _get_running(session: Session, workers: Sequence[WorkerProcess]) -> dict[str | None, Job]:
    """Return the running job of each worker, by the worker's name; none for an idle worker."""
    names = [worker.name for worker in workers]
    running = select(Job).where(Job.status.in_(HELD), Job.worker.in_(names))
    return {held.worker: held for held in session.scalars(running, execution_options=OF_ALL)}


def _estimate_seconds_left(session: Session, running: Job, duration: Wait | None) -> Wait | None:
    """Estimate the remaining seconds of a running job, from its progress or else from the duration of similar jobs.

    Returns None if neither is known.
    """
    left = (running.progress or {}).get("seconds_left")
    if left is not None:
        return Wait(float(left), left / SPREAD_OF_PROGRESS, left * SPREAD_OF_PROGRESS)
    if duration is None or running.started_at is None:
        return None
    run = (_get_time(session) - running.started_at).total_seconds()
    return Wait(*(max(0.0, seconds - run) for seconds in duration))


def _measure_duration(session: Session, profile: JobProfile) -> Wait | None:
    """Return the duration of the newest succeeded jobs with this profile. Returns None if none has succeeded.

    Jobs of other models tell nothing: their networks and data can take any time.
    """
    kind, model = profile
    ended = select(Job.started_at, Job.ended_at).where(
        Job.status == JobStatus.SUCCEEDED, Job.kind == kind, Job.model == model
    )
    ended = ended.order_by(Job.created_at.desc(), Job.id.desc()).limit(SIMILAR_JOBS)
    rows = session.execute(ended, execution_options=OF_ALL)
    seconds = [(end - start).total_seconds() for start, end in rows if start is not None and end is not None]
    if not seconds:
        return None
    if len(seconds) == 1:
        return Wait(seconds[0], seconds[0] / SPREAD_OF_ONE, seconds[0] * SPREAD_OF_ONE)
    return Wait(median(seconds), min(seconds), max(seconds))


def _get_time(session: Session) -> datetime:
    """Return the time of the database's clock."""
    return session.scalars(select(now())).one()
