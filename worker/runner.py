"""Claim a job, run it by its kind, and write the outcome of the attempt."""

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from shared import logs
from shared.database.engine import DATABASE_ERRORS
from shared.database.tables.jobs import Job, JobKind
from shared.devices import Device, list_devices
from shared.errors import InternalError, Overloaded, ServiceError, StorageUnavailable, TrainingFailure, VersionUnusable
from shared.jobs import lifecycle
from shared.jobs.lifecycle import LeaseLost
from shared.jobs.outcomes import Cancelled, Failed, Finished, HandedBack, Outcome, Requeued
from shared.jobs.queue import scheduling
from worker.baselines.job import run_baselines_job
from worker.context import WorkerContext
from worker.evaluations.job import run_evaluation_job
from worker.exports.job import run_export_job
from worker.imports.job import run_import_job
from worker.lease import JobCancelled, Lease, WorkerShutdown
from worker.prediction.job import run_prediction_job
from worker.process.job_log import log_to_job
from worker.training.job import run_training_job

logger = logging.getLogger(__name__)

JOB_KINDS: dict[JobKind, Callable[[WorkerContext, Job, Lease, Path], None]] = {
    JobKind.TRAINING: run_training_job,
    JobKind.PREDICTION: run_prediction_job,
    JobKind.EXPORT: run_export_job,
    JobKind.BASELINES: run_baselines_job,
    JobKind.IMPORT: run_import_job,
    JobKind.EVALUATION: run_evaluation_job,
}
"""The function for each kind of job. It gets an empty folder for its files, and writes the success of the job."""


def run_next_job(context: WorkerContext) -> UUID | None:
    """Claim and run the next job. Returns its id; None if there is no job for this worker, or if it shuts down."""
    devices = list_devices(context.queues)
    if context.is_shutting_down():
        return None
    try:
        with context.sessions.begin() as session:
            job = lifecycle.claim(session, context.worker, devices, context.lease_seconds, context.max_running)
    except DATABASE_ERRORS as error:
        logger.warning("no job claimed, database unreachable: %s", error)
        return None
    if job is None:
        return None
    with logs.add_context(job_id=str(job.id)):
        logger.info("job %s claimed, attempt %d", job.id, job.attempt)
        _run(context, job)
    _notify_of_next(context, devices)
    return job.id


def _run(context: WorkerContext, job: Job) -> None:
    """Run the job under its lease, and write the outcome of the attempt."""

    def end(outcome: Outcome, session: Session) -> None:
        lifecycle.end_attempt(session, job.id, job.attempt, outcome, context.retry_policy)

    def abandon(outcome: Outcome | None) -> None:
        """Write the outcome of an attempt that does not end, and end this process. Runs in the thread of the lease."""
        logger.warning("job %s, attempt %d did not end in time, so that its process is ended", job.id, job.attempt)
        if outcome is not None:
            try:
                with context.sessions.begin() as session:
                    end(outcome, session)
            except (LeaseLost, *DATABASE_ERRORS):  # the attempt has just ended, or the lease tries again
                return
        context.end_process()

    lease = Lease(
        context.sessions,
        job.id,
        job.attempt,
        context.lease_seconds,
        context.progress_seconds,
        is_shutting_down=context.is_shutting_down,
        abandon=abandon,
    )
    try:
        outcome = _run_attempt(context, job, lease)
        lease.write_with_retry(partial(end, outcome))
        logger.info("job %s, attempt %d ended: %s", job.id, job.attempt, type(outcome).__name__)
    except LeaseLost:
        logger.warning("job %s, attempt %d no longer holds the lease", job.id, job.attempt)
    except DATABASE_ERRORS:
        logger.exception("job %s left until its lease expires, after a database error", job.id)


def _run_attempt(context: WorkerContext, job: Job, lease: Lease) -> Outcome:
    """Run the job by its kind, and convert errors to an outcome. Raises LeaseLost, or one of DATABASE_ERRORS."""
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
    except Overloaded as error:  # a child process did not start, or took too long: the machine is busy
        outcome = Requeued(StorageUnavailable(error.detail))
    except ServiceError as error:  # the version that the job uses was deleted or damaged after the job was submitted
        outcome = Failed(VersionUnusable(error.detail))
    except OSError as error:
        logger.exception("job %s could not read or write files", job.id)
        outcome = Requeued(
            StorageUnavailable(f"Files could not be read or written ({error}). Check whether the disk is full.")
        )
    except Exception:
        logger.exception("job %s failed unexpectedly", job.id)
        outcome = Failed(
            InternalError("An unexpected error occurred, not caused by the spec. See the log of the worker.")
        )
    return outcome


def _notify_of_next(context: WorkerContext, devices: tuple[Device, ...]) -> None:
    """Notify of the next queued job, because its own message can be lost, for example by a restart of Redis."""
    try:
        with context.sessions() as session:
            waiting = scheduling.list_waiting_devices(session)
    except DATABASE_ERRORS:  # the scheduler notifies later
        return
    for device in set(waiting) & set(devices):
        context.notifier.notify(device)
