"""Claim jobs, renew their leases and change their status. Only `_transition` writes a status, by compare-and-set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, func, null, select, update
from sqlalchemy.orm import Session

from shared.database.tables.base import Document, now
from shared.database.tables.jobs import ENDED, HELD, Job, JobEpoch, JobEvent, JobStatus, Owner
from shared.devices import Device
from shared.errors import AttemptsUsedUp, JobHasEnded, JobNotStarted, TrainingFailure
from shared.jobs import usage
from shared.jobs.events import EpochReport, LogLine, format_epoch, to_problem
from shared.jobs.outcomes import Cancelled, Failed, Finished, HandedBack, Outcome, Requeued
from shared.jobs.queries import get_job
from shared.jobs.queue import scheduling
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
    """The attempt cannot write to its job: it no longer holds the lease, or the job is being cancelled."""


@dataclass(frozen=True)
class RetryPolicy:
    """The limit and the delay for jobs whose attempts are lost.

    Attributes:
        attempts: the job fails when this number of attempts in a row is lost without progress.
        seconds: delay after the first lost attempt. It doubles with each further one in a row.
    """

    attempts: int
    seconds: float

    def compute_delay(self, consecutive_lost_attempts: int) -> float:
        """Compute the seconds to wait after this number of lost attempts in a row, from 1."""
        return self.seconds * 2.0 ** (consecutive_lost_attempts - 1)


def claim(
    session: Session, worker: str, devices: Iterable[Device], lease_seconds: float, max_running: int | None = None
) -> Job | None:
    """Claim the next job for a worker that serves these devices. Returns None if there is none.

    `max_running` is how many jobs of one owner can run at the same time; None for no limit.
    """
    scheduling.lock_claims(session)
    next_job = scheduling.select_next_job(devices, max_running)
    # The owner can cancel the selected job before the update below: then the next one is selected.
    while (candidate := session.scalars(next_job).one_or_none()) is not None:
        claimed = _transition(
            session,
            CLAIM,
            Job.id == candidate.id,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=now(lease_seconds),
            held_at=now(),
            renewed_at=now(),
            scheduled_at=None,
            started_at=func.coalesce(Job.started_at, now()),
            progress=None,
        )
        if claimed:
            return _begin_attempt(session, claimed[0])
    return None


def renew(
    session: Session,
    job_id: UUID,
    attempt: int,
    lease_seconds: float,
    progress: Document | None,
    epochs: Sequence[EpochReport],
    lines: Sequence[LogLine] = (),
) -> JobStatus:
    """Renew the lease, and write the progress, the epochs and the log lines since the last renewal.

    Args:
        lease_seconds: the lease expires after this time.
        progress: new progress; None if it has not changed.
        lines: new lines of the job's log.

    Returns:
        The status of the job: `stopping` and `cancelling` ask the attempt to end.

    Raises LeaseLost.
    """
    new_events: list[tuple[str, Document]] = [("log", {"level": line.level, "message": line.message}) for line in lines]
    new_events += [("epoch", format_epoch(report)) for report in epochs]
    values: dict[str, Any] = {"lease_until": now(lease_seconds), "renewed_at": now()}
    if progress is not None:
        new_events.append(("progress", progress))
        values["progress"] = progress
    held = session.execute(
        update(Job)
        .where(match_attempt(job_id, attempt), Job.status.in_(HELD))
        .values(values | {"last_event": Job.last_event + len(new_events)})
        .returning(Job.status, Job.last_event)
    ).one_or_none()
    if held is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    for number, (kind, content) in enumerate(new_events, held.last_event - len(new_events) + 1):
        session.add(JobEvent(job_id=job_id, number=number, kind=kind, content=content))
    session.add_all(JobEpoch(job_id=job_id, **vars(report)) for report in epochs)
    return JobStatus(held.status)


def lock_attempt(session: Session, job_id: UUID, attempt: int) -> Job:
    """Return the job of an attempt, its row locked until the end of the transaction. Raises LeaseLost."""
    held = select(Job).where(match_attempt(job_id, attempt), Job.status.in_(HELD)).with_for_update()
    job = session.scalars(held, execution_options={"populate_existing": True}).one_or_none()
    if job is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    return job


def cancel(session: Session, job_id: UUID) -> Job:
    """Cancel a queued job at once, or ask the attempt of a running job to end.

    A second call has no effect while the attempt still runs. Raises JobNotFound or JobHasEnded.
    """
    moved = _transition(session, CANCEL, Job.id == job_id)
    job = moved[0] if moved else get_job(session, job_id)
    if not moved and job.status in ENDED:
        raise JobHasEnded(f"Job {job_id} cannot be cancelled, because it has ended: it is {job.status}.")
    return job


def cancel_queued(session: Session, project: str, owner: str | None = None) -> list[Job]:
    """Cancel the queued jobs of a project, or those of one owner in it. Returns them."""
    chosen = and_(Job.project == project, Job.status == JobStatus.QUEUED)
    return _transition(session, CANCEL, chosen if owner is None else and_(chosen, Job.owner == owner))


def stop(session: Session, job_id: UUID) -> Job:
    """Ask a running job to end early and to keep its result.

    A training publishes after its current epoch; a batch prediction keeps the results so far. A queued job with a
    checkpoint stops as soon as it is claimed. A second call has no effect while the attempt still runs.

    Raises JobNotFound, JobHasEnded, or JobNotStarted for a queued job without a checkpoint.
    """
    moved = _transition(session, STOP, Job.id == job_id, stop_asked=True)
    if moved:
        return moved[0]
    waiting = and_(Job.id == job_id, Job.status == JobStatus.QUEUED, Job.checkpoint_file.is_not(None))
    session.execute(update(Job).where(waiting).values(stop_asked=True))
    job = get_job(session, job_id)
    session.refresh(job)
    if job.status == JobStatus.QUEUED and not job.stop_asked:
        raise JobNotStarted(f"Job {job_id} is queued and has no checkpoint to publish. Cancel it instead.")
    if job.status in ENDED or job.status == JobStatus.CANCELLING:
        raise JobHasEnded(f"Job {job_id} cannot be stopped: it is {job.status}.")
    return job


def succeed(session: Session, job_id: UUID, attempt: int, number: int | None) -> None:
    """End the job as succeeded, in the transaction that publishes version `number`; None for a candidate.

    Raises LeaseLost, also when the job is being cancelled.
    """
    _transition_attempt(session, SUCCEED, job_id, attempt, {"version": number}, checkpoint_file=None)


def finish_reproduction(session: Session, job_id: UUID, attempt: int, reproduction: Document) -> None:
    """End a reproduction as succeeded, with the result of its comparison.

    Raises LeaseLost, also when the job is being cancelled.
    """
    _transition_attempt(session, SUCCEED, job_id, attempt, checkpoint_file=None, reproduction=reproduction)


def finish_fold(session: Session, job_id: UUID, attempt: int, metrics: Document) -> None:
    """End a fold of a cross-validation as succeeded, with its metrics. It publishes no version.

    Raises LeaseLost, also when the job is being cancelled.
    """
    _transition_attempt(session, SUCCEED, job_id, attempt, checkpoint_file=None, metrics=metrics)


def finish_batch(session: Session, job_id: UUID, attempt: int) -> None:
    """End a batch prediction as succeeded, because all inputs are done or the job was stopped.

    Raises LeaseLost, also when the job is being cancelled.
    """
    _transition_attempt(session, SUCCEED, job_id, attempt)


def finish_version_job(session: Session, job_id: UUID, attempt: int, result: Document | None) -> None:
    """End a job that has added a file to a version as succeeded, with what an export has measured.

    Raises LeaseLost, also when the job is being cancelled.
    """
    _transition_attempt(session, SUCCEED, job_id, attempt, export=result)


def end_attempt(session: Session, job_id: UUID, attempt: int, outcome: Outcome, retry_policy: RetryPolicy) -> None:
    """Write the outcome of an attempt to its job. Raises LeaseLost."""
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
    """End the job as failed, or as cancelled if it is being cancelled. Raises LeaseLost."""
    problem = to_problem(failure)
    _transition_attempt(session, FAIL, job_id, attempt, {"error": problem}, error=problem)


def finish_cancelling(session: Session, job_id: UUID, attempt: int) -> None:
    """End the job as cancelled, once its attempt has stopped. Raises LeaseLost."""
    _transition_attempt(session, FINISH_CANCELLING, job_id, attempt)


def hand_back(session: Session, job_id: UUID, attempt: int) -> None:
    """Requeue the job for another worker, without counting the attempt as lost. Raises LeaseLost."""
    _transition_attempt(session, HAND_BACK, job_id, attempt, **_RELEASED)


def hand_back_all(session: Session, worker: str) -> list[Job]:
    """Hand back all jobs that a worker still holds. Returns them."""
    return _transition(session, HAND_BACK, Job.worker == worker, **_RELEASED)


def requeue_after_error(
    session: Session, job_id: UUID, attempt: int, retry_policy: RetryPolicy, failure: TrainingFailure
) -> None:
    """Requeue the job with backoff after an error of this machine. Fails it with `failure` when no attempt is left.

    Raises LeaseLost.
    """
    if not _rescue(session, match_attempt(job_id, attempt), retry_policy, failure):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def rescue_expired(session: Session, retry_policy: RetryPolicy) -> list[Job]:
    """Requeue the jobs whose lease has expired, with backoff. Fails those without a remaining attempt.

    Returns all of these jobs.
    """
    return _rescue(session, Job.lease_until < now(), retry_policy, _build_lost_error(retry_policy))


def rescue_from_worker(session: Session, worker: str, retry_policy: RetryPolicy) -> list[Job]:
    """Requeue or fail the job of a worker whose training process is gone, before the lease expires. Returns it."""
    return _rescue(session, Job.worker == worker, retry_policy, _build_lost_error(retry_policy))


_RELEASED: dict[str, Any] = {"worker": None, "progress": None}
"""Column values of a job that goes back to the queue."""


def _begin_attempt(session: Session, job: Job) -> Job:
    """Delete the reported epochs after the checkpoint, because the attempt trains them again.

    Also records the claim for its owner, and moves a job that is asked to stop on to `stopping`.
    """
    session.execute(delete(JobEpoch).where(JobEpoch.job_id == job.id, JobEpoch.epoch > job.checkpoint_epoch))
    session.execute(update(Owner).where(Owner.name == job.owner).values(last_claimed_at=now()))
    return _transition(session, STOP, Job.id == job.id)[0] if job.stop_asked else job


def _transition(
    session: Session,
    move: Transition,
    condition: ColumnElement[bool],
    outcome: Document | None = None,
    **values: Any,  # noqa: ANN401 - columns have values of many types
) -> list[Job]:
    """Change the status of the jobs that match `condition`, if the transition allows it from their present status.

    No other function changes a status. Each change adds an event. `lease_until` becomes NULL when no worker holds the
    job any more.

    Args:
        outcome: content of the event of a job that ends, in addition to its status and attempt.
        values: other columns to write.

    Returns:
        The changed jobs.
    """
    ending = [old for old, new in move.changes.items() if new in ENDED]
    releasing = [old for old, new in move.changes.items() if new not in HELD]
    if releasing:
        values["lease_until"] = case((Job.status.in_(releasing), null()), else_=Job.lease_until)
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
        content = {"status": job.status, "attempt": job.attempt, **((outcome or {}) if job.status in ENDED else {})}
        session.add(JobEvent(job_id=job.id, number=job.last_event, kind="status", content=content))
    if releasing and HELD.issuperset(releasing):
        usage.record_ended(session, moved, is_lost=move in (LOSE, GIVE_UP))
    return list(moved)


def _transition_attempt(
    session: Session,
    move: Transition,
    job_id: UUID,
    attempt: int,
    outcome: Document | None = None,
    **values: Any,  # noqa: ANN401
) -> None:
    if not _transition(session, move, match_attempt(job_id, attempt), outcome, **values):
        raise LeaseLost(f"job {job_id}, attempt {attempt}")


def _rescue(
    session: Session, lost: ColumnElement[bool], retry_policy: RetryPolicy, failure: TrainingFailure
) -> list[Job]:
    """Requeue the lost jobs with backoff, or fail them with `failure` when no attempt is left. Returns all of them."""
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
        f"The process that ran the job was lost {retry_policy.attempts} times in a row without progress. The usual "
        "cause is too little memory. Lower batch_size, or use a network with fewer parameters or smaller layer outputs."
    )


def match_attempt(job_id: UUID, attempt: int) -> ColumnElement[bool]:
    """Match the job only while `attempt` is its newest claim. Every write of an attempt is fenced by this condition."""
    return and_(Job.id == job_id, Job.attempt == attempt)
