"""Every read and write of jobs that are there. A status changes in `_move` alone, by compare-and-set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    func,
    null,
    select,
    update,
)
from sqlalchemy.orm import Session

from shared.database.tables.base import Document, now
from shared.database.tables.jobs import ENDED, HELD, Job, JobEpoch, JobEvent, JobStatus, Owner
from shared.devices import Device
from shared.errors import (
    AttemptsUsedUp,
    JobHasEnded,
    JobNotStarted,
    TrainingFailure,
)
from shared.jobs import scheduling
from shared.jobs.events import EpochReport, LogLine, format_epoch, to_problem
from shared.jobs.outcomes import Cancelled, Failed, Finished, HandedBack, Outcome, Requeued
from shared.jobs.queries import get_job
from shared.jobs.transitions import (
    CANCEL,
    CLAIM,
    FAIL,
    FINISH_CANCELLING,
    GIVE_UP,
    HAND_BACK,
    LOSE,
    STOP,
    SUCCEED,
    Transition,
)


class LeaseLost(Exception):
    """This attempt is no longer the job's: whatever it still has to say, nobody may hear."""


@dataclass(frozen=True)
class RetryPolicy:
    """How many attempts in a row may come to nothing, and how long a job waits after the first: then twice as long."""

    attempts: int
    seconds: float

    def compute_delay(self, consecutive_lost_attempts: int) -> float:
        return self.seconds * 2.0 ** (consecutive_lost_attempts - 1)


def claim(
    session: Session, worker: str, devices: Iterable[Device], lease_seconds: float, max_running: int | None = None
) -> Job | None:
    """The next job for a worker of these devices, now its own until the lease runs out; None when there is none.

    `most_running` is how many of one owner may run at a time.
    """
    scheduling.lock_claims(session)
    line = scheduling.select_next_job(devices, max_running)
    while (following := session.scalars(line).one_or_none()) is not None:
        claimed = _transition(
            session,
            CLAIM,
            Job.id == following.id,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=now(lease_seconds),
            scheduled_at=None,
            started_at=func.coalesce(Job.started_at, now()),
            progress=None,
        )
        if claimed:
            return _begin_attempt(session, claimed[0])
    return None  # or it was cancelled in the meantime, and the next was looked for


def renew(
    session: Session,
    job_id: UUID,
    attempt: int,
    lease_seconds: float,
    progress: Document | None,
    epochs: Sequence[EpochReport],
    lines: Sequence[LogLine] = (),
) -> JobStatus:
    """Holds the lease and writes what is new. Answers the status, which may tell to end; raises LeaseLost."""
    news: list[tuple[str, Document]] = [("log", {"level": line.level, "message": line.message}) for line in lines]
    news += [("epoch", format_epoch(report)) for report in epochs]
    values: dict[str, Any] = {"lease_until": now(lease_seconds)}
    if progress is not None:
        news.append(("progress", progress))
        values["progress"] = progress
    held = session.execute(
        update(Job)
        .where(match_attempt(job_id, attempt), Job.status.in_(HELD))
        .values(values | {"last_event": Job.last_event + len(news)})
        .returning(Job.status, Job.last_event)
    ).one_or_none()
    if held is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    for number, (kind, content) in enumerate(news, held.last_event - len(news) + 1):
        session.add(JobEvent(job_id=job_id, number=number, kind=kind, content=content))
    session.add_all(JobEpoch(job_id=job_id, **vars(report)) for report in epochs)
    return JobStatus(held.status)


def lock_attempt(session: Session, job_id: UUID, attempt: int) -> Job:
    """The job, locked to the end of the transaction. Raises LeaseLost."""
    held = select(Job).where(match_attempt(job_id, attempt), Job.status.in_(HELD)).with_for_update()
    job = session.scalars(held, execution_options={"populate_existing": True}).one_or_none()
    if job is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    return job


def cancel(session: Session, job_id: UUID) -> Job:
    """A queued job is cancelled at once; a running one is told to end. Twice is the same as once."""
    moved = _transition(session, CANCEL, Job.id == job_id)
    job = moved[0] if moved else get_job(session, job_id)
    if not moved and job.status in ENDED:
        raise JobHasEnded(f"Job {job_id} has ended: it is {job.status}.")
    return job


def stop(session: Session, job_id: UUID) -> Job:
    """A running job is told to publish after the epoch it is in. Twice is the same as once.

    Raises JobNotFound, JobHasEnded, or JobNotStarted where there is nothing yet that could be published.
    """
    moved = _transition(session, STOP, Job.id == job_id, stop_asked=True)
    if moved:
        return moved[0]
    waiting = and_(Job.id == job_id, Job.status == JobStatus.QUEUED, Job.checkpoint_file.is_not(None))
    session.execute(update(Job).where(waiting).values(stop_asked=True))
    job = get_job(session, job_id)
    session.refresh(job)
    if job.status == JobStatus.QUEUED and not job.stop_asked:
        raise JobNotStarted(f"Job {job_id} has not trained yet, and there is nothing to publish: cancel it instead.")
    if job.status in ENDED or job.status == JobStatus.CANCELLING:
        raise JobHasEnded(f"Job {job_id} does not go on: it is {job.status}.")
    return job


def succeed(session: Session, job_id: UUID, attempt: int, number: int) -> None:
    """Part of the publishing of version `number`. Raises LeaseLost, also when the job is to be cancelled."""
    _transition_attempt(session, SUCCEED, job_id, attempt, {"version": number}, checkpoint_file=None)


def finish_reproduction(session: Session, job_id: UUID, attempt: int, reproduction: Document) -> None:
    """Raises LeaseLost, also when the job is to be cancelled."""
    _transition_attempt(session, SUCCEED, job_id, attempt, checkpoint_file=None, reproduction=reproduction)


def finish_batch(session: Session, job_id: UUID, attempt: int) -> None:
    """All that was asked is answered. Raises LeaseLost, also when the job is to be cancelled."""
    _transition_attempt(session, SUCCEED, job_id, attempt)


def end_attempt(session: Session, job_id: UUID, attempt: int, outcome: Outcome, retry_policy: RetryPolicy) -> None:
    """Write how an attempt ended. Raises LeaseLost."""
    match outcome:
        case Finished():
            return
        case Cancelled():
            finish_cancelling(session, job_id, attempt)
        case HandedBack():
            hand_back(session, job_id, attempt)
        case Failed(failure):
            fail(session, job_id, attempt, failure)
        case Requeued(reason):
            requeue_after_error(session, job_id, attempt, retry_policy, reason)


def fail(session: Session, job_id: UUID, attempt: int, failure: TrainingFailure) -> None:
    """Raises LeaseLost."""
    problem = to_problem(failure)
    _transition_attempt(session, FAIL, job_id, attempt, {"error": problem}, error=problem)


def finish_cancelling(session: Session, job_id: UUID, attempt: int) -> None:
    """The attempt has stopped, as it was told. Raises LeaseLost."""
    _transition_attempt(session, FINISH_CANCELLING, job_id, attempt)


def hand_back(session: Session, job_id: UUID, attempt: int) -> None:
    """It waits for the next worker, and this attempt does not count. Raises LeaseLost."""
    _transition_attempt(session, HAND_BACK, job_id, attempt, **_RELEASED)


def hand_back_all(session: Session, worker: str) -> list[Job]:
    """The same for whatever the worker still holds."""
    return _transition(session, HAND_BACK, Job.worker == worker, **_RELEASED)


def requeue_after_error(
    session: Session, job_id: UUID, attempt: int, retry_policy: RetryPolicy, failure: TrainingFailure
) -> None:
    """The attempt is lost by nobody's fault but this machine's; `failure` is what is said once none is left.

    Raises LeaseLost.
    """
    if not _rescue(session, match_attempt(job_id, attempt), retry_policy, failure):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def rescue_expired(session: Session, retry_policy: RetryPolicy) -> list[Job]:
    """Jobs whose lease ran out wait again, or fail once so many attempts came to nothing."""
    return _rescue(session, Job.lease_until < now(), retry_policy, _build_lost_error(retry_policy))


def rescue_from_worker(session: Session, worker: str, retry_policy: RetryPolicy) -> list[Job]:
    """The same, at once, for a worker whose training process is known to be gone."""
    return _rescue(session, Job.worker == worker, retry_policy, _build_lost_error(retry_policy))


_RELEASED: dict[str, Any] = {"worker": None, "progress": None}


def _begin_attempt(session: Session, job: Job) -> Job:
    """What the attempt is about to do again is no part of the curves any more."""
    session.execute(delete(JobEpoch).where(JobEpoch.job_id == job.id, JobEpoch.epoch > job.checkpoint_epoch))
    session.execute(update(Owner).where(Owner.name == job.owner).values(last_claimed_at=now()))
    return _transition(session, STOP, Job.id == job.id)[0] if job.stop_asked else job


def _transition(
    session: Session,
    move: Transition,
    condition: ColumnElement[bool],
    news: Document | None = None,
    **values: Any,  # noqa: ANN401 - columns take what they take
) -> list[Job]:
    """The one place where a status changes: only from the states that the move names, and each change is an event."""
    ending = [old for old, new in move.changes.items() if new in ENDED]
    letting_go = [old for old, new in move.changes.items() if new not in HELD]
    if letting_go:
        values["lease_until"] = case((Job.status.in_(letting_go), null()), else_=Job.lease_until)
    moved = session.scalars(
        update(Job)
        .where(condition, Job.status.in_(move.changes))
        .values(
            status=case(move.changes, value=Job.status),
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


def _transition_attempt(
    session: Session,
    move: Transition,
    job_id: UUID,
    attempt: int,
    news: Document | None = None,
    **values: Any,  # noqa: ANN401
) -> None:
    if not _transition(session, move, match_attempt(job_id, attempt), news, **values):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def _rescue(
    session: Session, lost: ColumnElement[bool], retry_policy: RetryPolicy, failure: TrainingFailure
) -> list[Job]:
    problem = to_problem(failure)
    consecutive = Job.consecutive_lost_attempts + 1
    counted: dict[str, Any] = {"consecutive_lost_attempts": consecutive, "lost_attempts": Job.lost_attempts + 1}
    given_up = _transition(
        session,
        GIVE_UP,
        and_(lost, consecutive >= retry_policy.attempts),
        {"error": problem},
        error=problem,
        **counted,
    )
    waits = [now(retry_policy.compute_delay(count)) for count in range(1, retry_policy.attempts)]
    scheduled_at = case(dict(enumerate(waits)), value=Job.consecutive_lost_attempts) if waits else None
    return given_up + _transition(session, LOSE, lost, scheduled_at=scheduled_at, **counted, **_RELEASED)


def _build_lost_error(retry_policy: RetryPolicy) -> TrainingFailure:
    return AttemptsUsedUp(
        f"The training process was lost {retry_policy.attempts} times in a row without any progress. The usual "
        "cause is memory: lower batch_size, or use a network with fewer parameters or smaller layer outputs."
    )


def match_attempt(job_id: UUID, attempt: int) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.attempt == attempt)
