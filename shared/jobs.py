"""Every read and write of jobs. A status changes in `_move` alone, by compare-and-set."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.devices import Device
from shared.errors import AttemptsUsedUp, IdempotencyKeyReused, JobHasEnded, JobNotFound, TrainingFailure
from shared.pages import Page
from shared.tables import ENDED, Document, Job, JobEpoch, JobEvent, JobStatus, JobTag, now
from shared.training_spec import TrainingSpec

IDEMPOTENCY_HOURS = 24
CODE_VERSION = 1
"""Raised whenever the same spec and data would train to other weights than before."""


class LeaseLost(Exception):
    """This attempt is no longer the job's: whatever it still has to say, nobody may hear."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; epochs count from 1."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


def create(session: Session, spec: TrainingSpec) -> Job:
    job = _queued(spec)
    session.add_all((job, _first_event(job)))
    return job


def create_reproduction(session: Session, spec: TrainingSpec, model: str, number: int) -> Job:
    """Trains what the version was trained from, and publishes nothing: it is compared."""
    job = _queued(spec)
    job.reproduces = {"model": model, "version": number}
    session.add_all((job, _first_event(job)))
    return job


def find_same(session: Session, spec: TrainingSpec) -> Job | None:
    """The newest job that came to a version of the same training; None when there is none."""
    query = select(Job).where(Job.training_digest == training_digest(spec), Job.status == JobStatus.SUCCEEDED)
    query = query.where(Job.version.has()).order_by(Job.created_at.desc()).limit(1)
    return session.scalars(query).one_or_none()


def find_reproduction(session: Session, model: str, number: int) -> Job:
    """The newest of a version. Raises JobNotFound."""
    query = select(Job).where(Job.model == model, Job.reproduces.is_not(None)).order_by(Job.created_at.desc())
    for job in session.scalars(query):
        if job.reproduces == {"model": model, "version": number}:
            return job
    raise JobNotFound(f"Version {number} of {model!r} was never trained once more: POST to this address does it.")


def create_once(session: Session, spec: TrainingSpec, key: str, asked: TrainingSpec) -> Job:
    """The same key answers the same job for a day. Raises IdempotencyKeyReused when it was asked for something else.

    `asked` is the spec as it came, before the newest of anything was looked up.
    """
    forgotten = (Job.idempotency_key == key) & (Job.created_at < now(-IDEMPOTENCY_HOURS * 3600))
    session.execute(update(Job).where(forgotten).values(idempotency_key=None))
    job = _queued(spec)
    job.idempotency_key = key
    job.spec_digest = digest_of(asked)
    try:
        with session.begin_nested():  # the database decides which of two is first
            session.add(job)
    except IntegrityError:
        first = session.scalars(select(Job).where(Job.idempotency_key == key)).one()
        if first.spec_digest != job.spec_digest:
            raise IdempotencyKeyReused(
                f"The key {key!r} stands for another spec: give each job a key of its own."
            ) from None
        return first
    session.add(_first_event(job))
    return job


def get(session: Session, job_id: UUID) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise JobNotFound(f"There is no job {job_id}.")
    return job


def find(
    session: Session,
    page: Page,
    status: JobStatus | None = None,
    model: str | None = None,
    tag: tuple[str, str | None] | None = None,
) -> list[Job]:
    """Newest first."""
    query = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(page.limit)
    if page.after is not None:
        created_at, job_id = page.after
        query = query.where(_older_than(datetime.fromisoformat(str(created_at)), UUID(str(job_id))))
    if status is not None:
        query = query.where(Job.status == status)
    if model is not None:
        query = query.where(Job.model == model)
    if tag is not None:
        key, value = tag
        same = JobTag.key == key if value is None else and_(JobTag.key == key, JobTag.value == value)
        query = query.where(Job.tags.any(same))
    return list(session.scalars(query))


def place_in_queue(session: Session, job: Job) -> int | None:
    """1 for the next to run, among the jobs that could take the same device; None once it is not queued."""
    if job.status != JobStatus.QUEUED:
        return None
    ahead = or_(
        Job.priority > job.priority,
        and_(Job.priority == job.priority, Job.created_at < job.created_at),
        and_(Job.priority == job.priority, Job.created_at == job.created_at, Job.id < job.id),
    )
    rivals = select(func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED, ahead)
    if job.device != Device.AUTO:
        rivals = rivals.where(Job.device.in_((job.device, Device.AUTO)))
    return session.scalars(rivals).one() + 1


def claim(session: Session, worker: str, devices: Iterable[Device], lease_seconds: float) -> Job | None:
    """The next job for a worker of these devices, now its own until the lease runs out; None when there is none."""
    following = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED, Job.device.in_(tuple(devices)))
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    moved = _move(
        session,
        Job.id == following,
        {JobStatus.QUEUED: JobStatus.RUNNING},
        attempt=Job.attempt + 1,
        worker=worker,
        lease_until=now(lease_seconds),
        started_at=func.coalesce(Job.started_at, now()),
        progress=None,
    )
    for job in moved:  # it starts from the beginning, and so do its curves
        session.execute(delete(JobEpoch).where(JobEpoch.job_id == job.id))
    return moved[0] if moved else None


def renew(
    session: Session,
    job_id: UUID,
    attempt: int,
    lease_seconds: float,
    progress: Document | None,
    epochs: Sequence[EpochReport],
) -> JobStatus:
    """Holds the lease and writes what is new. Answers the status, which may be `cancelling`; raises LeaseLost."""
    values: dict[str, Any] = {"lease_until": now(lease_seconds), "last_event": Job.last_event + len(epochs)}
    if progress is not None:
        values |= {"progress": progress, "last_event": Job.last_event + len(epochs) + 1}
    held = session.execute(
        update(Job)
        .where(_own(job_id, attempt), Job.status.in_((JobStatus.RUNNING, JobStatus.CANCELLING)))
        .values(values)
        .returning(Job.status, Job.last_event)
    ).one_or_none()
    if held is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    news: list[tuple[str, Document]] = [("epoch", _epoch_content(report)) for report in epochs]
    if progress is not None:
        news.append(("progress", progress))
    for number, (kind, content) in enumerate(news, held.last_event - len(news) + 1):
        session.add(JobEvent(job_id=job_id, number=number, kind=kind, content=content))
    session.add_all(JobEpoch(job_id=job_id, **vars(report)) for report in epochs)
    return JobStatus(held.status)


def cancel(session: Session, job_id: UUID) -> Job:
    """A queued job is cancelled at once; a running one is told to stop. Twice is the same as once."""
    moved = _move(
        session,
        Job.id == job_id,
        {JobStatus.QUEUED: JobStatus.CANCELLED, JobStatus.RUNNING: JobStatus.CANCELLING},
    )
    job = moved[0] if moved else get(session, job_id)
    if not moved and job.status in ENDED:
        raise JobHasEnded(f"Job {job_id} has ended: it is {job.status}.")
    return job


def succeed(session: Session, job_id: UUID, attempt: int, number: int) -> None:
    """Part of the publishing of version `number`. Raises LeaseLost, also when the job is to be cancelled."""
    moves = {JobStatus.RUNNING: JobStatus.SUCCEEDED}
    if not _move(session, _own(job_id, attempt), moves, {"version": number}, lease_until=None):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def finish_reproduction(session: Session, job_id: UUID, attempt: int, reproduction: Document) -> None:
    """Raises LeaseLost, also when the job is to be cancelled."""
    moves = {JobStatus.RUNNING: JobStatus.SUCCEEDED}
    if not _move(session, _own(job_id, attempt), moves, lease_until=None, reproduction=reproduction):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def fail(session: Session, job_id: UUID, attempt: int, failure: TrainingFailure) -> None:
    """Raises LeaseLost."""
    problem = problem_of(failure)
    moves = {JobStatus.RUNNING: JobStatus.FAILED, JobStatus.CANCELLING: JobStatus.CANCELLED}
    if not _move(session, _own(job_id, attempt), moves, {"error": problem}, lease_until=None, error=problem):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def finish_cancelling(session: Session, job_id: UUID, attempt: int) -> None:
    """The attempt has stopped, as it was told. Raises LeaseLost."""
    moves = {JobStatus.CANCELLING: JobStatus.CANCELLED}
    if not _move(session, _own(job_id, attempt), moves, lease_until=None):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def hand_back(session: Session, worker: str) -> list[Job]:
    """A worker that shuts down lets go of its jobs: they wait for the next, and their attempts here are fenced out."""
    moves = {JobStatus.RUNNING: JobStatus.QUEUED, JobStatus.CANCELLING: JobStatus.CANCELLED}
    return _move(session, Job.worker == worker, moves, lease_until=None, worker=None, progress=None)


def take_from_expired(session: Session, max_attempts: int) -> list[Job]:
    """Jobs whose lease ran out wait again, or fail once so many of their workers were lost."""
    return _take(session, Job.lease_until < now(), max_attempts)


def take_from_lost(session: Session, worker: str, max_attempts: int) -> list[Job]:
    """The same, at once, for a worker whose training process is known to be gone."""
    return _take(session, Job.worker == worker, max_attempts)


def devices_waited_for(session: Session) -> list[Device]:
    """The devices that queued jobs ask for, each once."""
    return [
        Device(device)
        for device in session.scalars(select(Job.device).where(Job.status == JobStatus.QUEUED).distinct())
    ]


def epochs_after(session: Session, job_id: UUID, epoch: int, limit: int) -> list[JobEpoch]:
    query = (
        select(JobEpoch).where(JobEpoch.job_id == job_id, JobEpoch.epoch > epoch).order_by(JobEpoch.epoch).limit(limit)
    )
    return list(session.scalars(query))


def events_after(session: Session, job_id: UUID, number: int, limit: int) -> list[JobEvent]:
    query = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.number > number)
        .order_by(JobEvent.number)
        .limit(limit)
    )
    return list(session.scalars(query))


def problem_of(failure: TrainingFailure) -> Document:
    """RFC 9457, as `GET /jobs/{id}` shows it: the title is the kind, in words."""
    title = failure.kind.replace("-", " ").capitalize()
    return {"type": f"/problems/{failure.kind}", "title": title, "detail": failure.detail}


def digest_of(spec: TrainingSpec) -> str:
    """sha256 of all that it says, every default filled in."""
    return hashlib.sha256(json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True).encode()).hexdigest()


def training_digest(spec: TrainingSpec) -> str:
    """sha256 of all that decides about the weights and where they go, and of the code that makes them."""
    document = spec.model_dump(mode="json", by_alias=True, exclude={"resources", "tags", "notes", "reuse"})
    content = json.dumps([CODE_VERSION, document], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _queued(spec: TrainingSpec) -> Job:
    return Job(
        id=uuid4(),
        model=spec.model,
        spec=spec.model_dump(mode="json", by_alias=True),
        spec_digest=digest_of(spec),
        training_digest=training_digest(spec),
        device=spec.resources.device,
        priority=spec.resources.priority,
        status=JobStatus.QUEUED,
        last_event=1,
        tags=[JobTag(key=key, value=value) for key, value in spec.tags.items()],
    )


def _move(
    session: Session,
    condition: ColumnElement[bool],
    moves: dict[JobStatus, JobStatus],
    news: Document | None = None,
    **values: Any,  # noqa: ANN401 - columns take what they take
) -> list[Job]:
    """The one place where a status changes: only from the states named, and each change is an event."""
    ending = [old for old, new in moves.items() if new in ENDED]
    moved = session.scalars(
        update(Job)
        .where(condition, Job.status.in_(moves))
        .values(
            status=case(moves, value=Job.status),
            ended_at=case((Job.status.in_(ending), now()), else_=None) if ending else None,
            last_event=Job.last_event + 1,
            **values,
        )
        .returning(Job),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).all()
    for job in moved:
        content = {"status": job.status, "attempt": job.attempt, **((news or {}) if job.status in ENDED else {})}
        session.add(JobEvent(job_id=job.id, number=job.last_event, kind="status", content=content))
    return list(moved)


def _take(session: Session, lost: ColumnElement[bool], max_attempts: int) -> list[Job]:
    problem = problem_of(
        AttemptsUsedUp(
            f"The training process was lost {max_attempts} times. Most often that is for want of memory: "
            "try a smaller batch_size, or a network with fewer parameters or smaller layer outputs."
        )
    )
    given_up = _move(
        session,
        and_(lost, Job.losses + 1 >= max_attempts),
        {JobStatus.RUNNING: JobStatus.FAILED},
        {"error": problem},
        losses=Job.losses + 1,
        lease_until=None,
        error=problem,
    )
    moves = {JobStatus.RUNNING: JobStatus.QUEUED, JobStatus.CANCELLING: JobStatus.CANCELLED}
    taken = _move(session, lost, moves, losses=Job.losses + 1, lease_until=None, worker=None, progress=None)
    return given_up + taken


def _first_event(job: Job) -> JobEvent:
    return JobEvent(job_id=job.id, number=1, kind="status", content={"status": job.status, "attempt": 0})


def _epoch_content(report: EpochReport) -> Document:
    return {
        "epoch": report.epoch,
        "seconds": report.seconds,
        "learning_rate": report.learning_rate,
        "metrics": report.metrics,
    }


def _own(job_id: UUID, attempt: int) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.attempt == attempt)


def _older_than(created_at: datetime, job_id: UUID) -> ColumnElement[bool]:
    return or_(Job.created_at < created_at, and_(Job.created_at == created_at, Job.id < job_id))
