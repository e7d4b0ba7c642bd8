"""Run one job: claim it, run it by its kind, and write how the attempt ended."""

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

from shared import logs
from shared.database.engine import DATABASE_ERRORS
from shared.database.tables.jobs import Job, JobKind
from shared.devices import Device, list_devices
from shared.errors import InternalError, ServiceError, StorageUnavailable, TrainingFailure, VersionUnusable
from shared.jobs import lifecycle, scheduling
from shared.jobs.lifecycle import LeaseLost
from shared.jobs.outcomes import Cancelled, Failed, Finished, HandedBack, Outcome, Requeued
from worker.context import WorkerContext
from worker.lease import JobCancelled, Lease, WorkerShutdown
from worker.prediction.job import run_prediction_job
from worker.process.job_log import log_to_job
from worker.training.job import run_training_job

logger = logging.getLogger(__name__)

JOB_KINDS: dict[JobKind, Callable[[WorkerContext, Job, Lease, Path], None]] = {
    JobKind.TRAINING: run_training_job,
    JobKind.PREDICTION: run_prediction_job,
}
"""Each function is given a folder for its files, and returns once the job's success is written."""


def run_next_job(context: WorkerContext) -> UUID | None:
    """Claim and run the next job. Returns its id, or None when no job waits for this worker."""
    devices = list_devices(context.queues)
    if context.is_shutting_down():
        return None
    try:
        with context.sessions.begin() as session:
            job = lifecycle.claim(session, context.worker, devices, context.lease_seconds, context.max_running)
    except DATABASE_ERRORS as error:
        logger.warning("no job claimed, the database is unreachable: %s", error)
        return None
    if job is None:
        return None
    with logs.add_context(job_id=str(job.id)):
        logger.info("job %s claimed, attempt %d", job.id, job.attempt)
        _run(context, job)
    _notify_of_next(context, devices)
    return job.id


def _run(context: WorkerContext, job: Job) -> None:
    lease = Lease(
        context.sessions,
        job.id,
        job.attempt,
        context.lease_seconds,
        context.progress_seconds,
        is_shutting_down=context.is_shutting_down,
    )
    try:
        outcome = _run_attempt(context, job, lease)
        end = partial(
            lifecycle.end_attempt,
            job_id=job.id,
            attempt=job.attempt,
            outcome=outcome,
            retry_policy=context.retry_policy,
        )
        lease.write_with_retry(end)
        logger.info("job %s, attempt %d ended: %s", job.id, job.attempt, type(outcome).__name__)
    except LeaseLost:
        logger.warning("job %s, attempt %d no longer holds the lease", job.id, job.attempt)
    except DATABASE_ERRORS:
        logger.exception("job %s left running: it is queued again when its lease expires", job.id)


def _run_attempt(context: WorkerContext, job: Job, lease: Lease) -> Outcome:
    """Run the job by its kind. Raises LeaseLost, or one of DATABASE_ERRORS."""
    outcome: Outcome = Finished()
    try:
        with lease, log_to_job(lease), tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            JOB_KINDS[JobKind(job.kind)](context, job, lease, Path(folder))
    except JobCancelled:
        outcome = Cancelled()
    except WorkerShutdown:
        outcome = HandedBack()
    except (LeaseLost, *DATABASE_ERRORS):
        raise
    except TrainingFailure as failure:
        outcome = Failed(failure)
    except ServiceError as error:  # the version that the job uses was deleted or damaged after it was submitted
        outcome = Failed(VersionUnusable(error.detail))
    except OSError as error:
        logger.exception("job %s could not read or write files", job.id)
        outcome = Requeued(
            StorageUnavailable(f"Files could not be read or written ({error}): check whether the disk is full.")
        )
    except Exception:
        logger.exception("job %s failed unexpectedly", job.id)
        outcome = Failed(
            InternalError("An unexpected error occurred, not caused by the spec. The worker's log has the reason.")
        )
    return outcome


def _notify_of_next(context: WorkerContext, devices: tuple[Device, ...]) -> None:
    """Notify for the job that waits next: its own notification may be lost, after a restart of Redis for example."""
    try:
        with context.sessions() as session:
            waiting = scheduling.list_waiting_devices(session)
    except DATABASE_ERRORS:  # the scheduler notifies later
        return
    for device in set(waiting) & set(devices):
        context.notifier.notify(device)
