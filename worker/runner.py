"""One job: claim, train, publish, or say why not."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from shared import logs
from shared.database.engine import DATABASE_ERRORS
from shared.database.tables.jobs import Job
from shared.devices import Device, list_devices
from shared.errors import InternalError, ServiceError, StorageUnavailable, TrainingFailure, VersionUnusable
from shared.jobs import lifecycle, scheduling
from shared.jobs.lifecycle import LeaseLost
from worker.lease import JobCancelled, Lease, WorkerShutdown
from worker.prediction.job import run_prediction_job
from worker.process.job_log import log_to_job

if TYPE_CHECKING:
    pass
from worker.context import WorkerContext
from worker.training.job import run_training_job

logger = logging.getLogger(__name__)


def run_next_job(yard: WorkerContext) -> UUID | None:
    """Answers the job that was run; None when the bell was stale and nothing waits."""
    devices = list_devices(yard.queues)
    if yard.is_shutting_down():
        return None
    try:
        with yard.sessions.begin() as session:
            job = lifecycle.claim(session, yard.worker, devices, yard.lease_seconds, yard.max_running)
    except DATABASE_ERRORS as error:
        logger.warning("no job claimed, the database is out of reach: %s", error)
        return None
    if job is None:
        return None
    with logs.add_context(job_id=str(job.id)):
        logger.info("job %s claimed, attempt %d", job.id, job.attempt)
        _run(yard, job)
    _ring_for_the_next(yard, devices)
    return job.id


def _run(yard: WorkerContext, job: Job) -> None:
    lease = Lease(
        yard.sessions,
        job.id,
        job.attempt,
        yard.lease_seconds,
        yard.progress_seconds,
        is_shutting_down=yard.is_shutting_down,
    )
    try:
        ended = _ended(yard, job, lease)
        if ended is not None:
            lease.write_with_retry(ended)
            logger.info("job %s ended its attempt %d", job.id, job.attempt)
    except LeaseLost:
        logger.warning("job %s given up, attempt %d no longer holds it", job.id, job.attempt)
    except DATABASE_ERRORS:
        logger.exception("job %s left alone: its lease runs out, and it is queued again", job.id)


def _ended(yard: WorkerContext, job: Job, lease: Lease) -> Callable[[Session], None] | None:
    """Trains or predicts, and answers what is still to be written of how it ended; None when it was published.

    Raises LeaseLost, or what a database raises that is out of reach.
    """
    try:
        with lease, log_to_job(lease), tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            if job.batch is None:
                run_training_job(yard, job, lease, Path(folder))
            else:
                run_prediction_job(yard, job, lease, Path(folder))
    except JobCancelled:
        return lambda session: lifecycle.finish_cancelling(session, job.id, job.attempt)
    except WorkerShutdown:
        return lambda session: lifecycle.hand_back(session, job.id, job.attempt)
    except (TrainingFailure, ServiceError) as failure:
        # What the job was created for may have been deleted, or damaged, since.
        known = failure if isinstance(failure, TrainingFailure) else VersionUnusable(failure.detail)
        return lambda session: lifecycle.fail(session, job.id, job.attempt, known)
    except (LeaseLost, *DATABASE_ERRORS):
        raise
    except OSError as error:
        logger.exception("job %s put off", job.id)
        reason = StorageUnavailable(f"Files could not be read or written ({error}): see whether the disk is full.")
        return lambda session: lifecycle.requeue_after_error(session, job.id, job.attempt, yard.retry_policy, reason)
    except Exception:
        logger.exception("job %s failed unexpectedly", job.id)
        defect = InternalError("Something went wrong that is not the spec's fault; the worker's log says what.")
        return lambda session: lifecycle.fail(session, job.id, job.attempt, defect)
    return None


def _ring_for_the_next(yard: WorkerContext, devices: tuple[Device, ...]) -> None:
    """The job that waits next may have lost its bell, to a restart of the broker for one."""
    try:
        with yard.sessions() as session:
            waiting = scheduling.list_waiting_devices(session)
    except DATABASE_ERRORS:  # the reconciler rings later
        return
    for device in set(waiting) & set(devices):
        yard.notifier.notify(device)
