"""Build a worker: its training processes, and its Celery app with three tasks."""

import logging
import os
import queue
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from sqlalchemy.pool import NullPool

from shared.database.engine import DATABASE_ERRORS, make_engine, make_sessions
from shared.jobs import lifecycle
from shared.jobs.broker import MAINTENANCE_QUEUE, RECONCILE, TIDY, TRAIN, JobNotifier, make_celery
from shared.jobs.lifecycle import RetryPolicy
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from shared.storage.scratch import Scratch
from worker.maintenance.audit_archive import archive_events
from worker.maintenance.image_caches import clean_caches
from worker.maintenance.rescue import rescue_jobs
from worker.maintenance.retention import Retention, clean_up
from worker.process.devices import choose_queues, has_gpu
from worker.processes import TrainingProcesses

logger = logging.getLogger(__name__)

CLEAN_UP_SECONDS = 600.0
"""The longest time between two runs of the clean-up."""


class Worker:
    """A worker: a process that receives messages from Redis, and the training processes that it starts.

    Attributes:
        name: of this process.
        slots: the names under which jobs are claimed. It has one for each job that it runs at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        gpu_here = has_gpu()
        self.queues = choose_queues(settings.device, gpu_here=gpu_here)
        self.host = socket.gethostname()
        self.name = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.slots = [self.name, *(f"{self.name}/{number}" for number in range(2, settings.worker_slots + 1))]
        self.retry_policy = RetryPolicy(settings.max_attempts, settings.retry_seconds)
        self.scratch = Scratch(settings.data_dir / "scratch", self.name)
        self.notifier = JobNotifier(settings.redis_url)
        self.sessions = make_sessions(make_engine(settings.database_url, poolclass=NullPool))
        self.processes = TrainingProcesses(
            [sys.executable, "-m", "worker.training_process", self.name],
            settings.worker_slots,
            settings.spare_memory_bytes,
            one_job_each=gpu_here,  # TensorFlow never releases GPU memory
            on_lost=self._requeue_lost_job,
        )

    def rescue_jobs(self) -> None:
        """Requeue the jobs of lost workers, and notify workers of the queued jobs."""
        with tolerate_database_outage():
            rescue_jobs(self.sessions, self.notifier, self.retry_policy)

    def clean_up(self) -> None:
        """Delete data after its retention period, files that nothing references, and what the caches hold too
        much; and archive old audit events."""
        settings = self.settings
        retention = Retention(
            settings.retain_checkpoints_days,
            settings.retain_events_days,
            settings.retain_predictions_days,
            settings.sweep_after_seconds,
        )
        with tolerate_database_outage():
            artifacts = ArtifactStore(settings.artifacts_url)
            clean_up(self.sessions, artifacts, retention)
            archive_events(self.sessions, artifacts)
        clean_caches(settings.data_dir / "cache", settings.max_cache_bytes)

    def _requeue_lost_job(self, slot: str) -> None:
        """Requeue the job of a training process that was killed, usually for lack of memory."""
        with tolerate_database_outage(), self.sessions.begin() as session:
            lifecycle.rescue_from_worker(session, slot, self.retry_policy)
        self.rescue_jobs()


def create_celery(worker: Worker) -> Celery:
    """Build the Celery app of a worker or a scheduler."""
    settings = worker.settings
    celery = make_celery(settings.redis_url)
    celery.conf.update(
        beat_schedule={
            RECONCILE: {
                "task": RECONCILE,
                "schedule": settings.reconcile_seconds,
                "options": {"queue": MAINTENANCE_QUEUE, "expires": settings.reconcile_seconds},
            },
            TIDY: {
                "task": TIDY,
                "schedule": min(CLEAN_UP_SECONDS, settings.sweep_after_seconds),
                "options": {"queue": MAINTENANCE_QUEUE, "expires": CLEAN_UP_SECONDS},
            },
        },
        beat_max_loop_interval=settings.reconcile_seconds,
        worker_pool="worker.slot_pool:SlotPool",
        worker_disable_prefetch=True,  # a busy worker must not reserve a message while another worker is idle
    )
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(worker.slots)):
        free.put(number)

    @celery.task(name=TRAIN)
    def run_job() -> None:
        number = free.get()
        try:
            worker.processes.run_job(worker.slots[number], number)
        finally:
            free.put(number)

    @celery.task(name=RECONCILE)
    def rescue() -> None:
        worker.rescue_jobs()

    @celery.task(name=TIDY)
    def clean() -> None:
        worker.clean_up()

    return celery


@contextmanager
def tolerate_database_outage() -> Iterator[None]:
    """Log errors of an unreachable database instead of raising them.

    The next run of the task repeats the work. A job that was not requeued is rescued when its lease expires.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        logger.warning("database unreachable, work left to a later run: %s", error)
