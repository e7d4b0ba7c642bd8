"""Build a worker: what its processes share, and its Celery app with three tasks."""

import functools
import gc
import logging
import mmap
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from sqlalchemy.pool import NullPool

from shared.database.engine import DATABASE_ERRORS, make_engine, make_sessions
from shared.jobs.broker import MAINTENANCE_QUEUE, RECONCILE, TIDY, TRAIN, JobNotifier, make_celery
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from worker.context import WorkerContext
from worker.maintenance.rescue import rescue_jobs
from worker.maintenance.retention import Retention, clean_up
from worker.process.devices import choose_queues, has_gpu
from worker.process.memory import MAX_PROCESS_KIB, trim_memory
from worker.process.scratch import Scratch
from worker.runner import run_next_job

logger = logging.getLogger(__name__)

CLEAN_UP_SECONDS = 600.0
TRAINING_PROCESS_START_SECONDS = 300
"""A training process is ready once it has imported TensorFlow."""


class Worker:
    """One worker: a parent process that talks to Celery, and a training process that it forks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gpu_here = has_gpu()
        self.queues = choose_queues(settings.device, gpu_here=self.gpu_here)
        self.host = socket.gethostname()
        # The training process inherits the name: the parent answers for the jobs that it held.
        self.name = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.retry_policy = RetryPolicy(settings.max_attempts, settings.retry_seconds)
        self.scratch = Scratch(settings.data_dir / "scratch", self.name)
        self.notifier = JobNotifier(settings.redis_url)
        # Of the parent, without a pool: a fork would share an open connection with the training process.
        self.sessions = make_sessions(make_engine(settings.database_url, poolclass=NullPool))
        # Shared memory, set by the parent in a signal handler, where no lock can be taken.
        self._shutting_down = mmap.mmap(-1, 1)

    def announce_shutdown(self) -> None:
        """Tell the training process to save a checkpoint and to hand its job back."""
        self._shutting_down[0] = 1

    def is_shutting_down(self) -> bool:
        return self._shutting_down[0] != 0

    @functools.cached_property
    def context(self) -> WorkerContext:
        """What the training process works with. Built there: TensorFlow does not survive a fork."""
        import tensorflow as tf

        import worker.training.evaluation
        import worker.training.export  # noqa: F401 - imported while idle, so that no job waits for it

        gc.freeze()  # a collection need not look through all of TensorFlow after each job
        settings = self.settings
        return WorkerContext(
            sessions=make_sessions(make_engine(settings.database_url)),
            artifacts=ArtifactStore(settings.artifacts_url),
            notifier=self.notifier,
            worker=self.name,
            queues=self.queues,
            datasets_dir=settings.datasets_dir,
            cache_dir=settings.data_dir / "cache",
            image_limits=ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
            lease_seconds=settings.lease_seconds,
            progress_seconds=settings.progress_seconds,
            retry_policy=self.retry_policy,
            max_running=settings.max_running_per_owner,
            is_shutting_down=self.is_shutting_down,
            count_gpus=lambda: len(tf.config.list_physical_devices("GPU")),
        )

    def rescue_jobs(self) -> None:
        """Requeue the jobs of lost workers, and notify for jobs that wait."""
        with tolerate_database_outage():
            rescue_jobs(self.sessions, self.notifier, self.retry_policy)

    def clean_up(self) -> None:
        """Delete what has passed its retention period, and files that nothing references."""
        settings = self.settings
        retention = Retention(
            settings.retain_checkpoints_days,
            settings.retain_events_days,
            settings.retain_predictions_days,
            settings.sweep_after_seconds,
        )
        with tolerate_database_outage():
            clean_up(self.sessions, ArtifactStore(settings.artifacts_url), retention)


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
        # TensorFlow never gives GPU memory back: a process that used a GPU is replaced, one that did not is kept.
        worker_max_tasks_per_child=1 if worker.gpu_here else None,
        worker_max_memory_per_child=MAX_PROCESS_KIB,
        worker_disable_prefetch=True,  # a busy worker would take a message that an idle one could answer
        worker_proc_alive_timeout=TRAINING_PROCESS_START_SECONDS,
    )

    @celery.task(name=TRAIN)
    def run_job() -> None:
        run_next_job(worker.context)
        trim_memory()

    @celery.task(name=RECONCILE)
    def rescue() -> None:
        worker.rescue_jobs()

    @celery.task(name=TIDY)
    def clean() -> None:
        worker.clean_up()

    return celery


@contextmanager
def tolerate_database_outage() -> Iterator[None]:
    """Log errors of an unreachable database: what is not done now is done by the next run, or by an expired lease."""
    try:
        yield
    except DATABASE_ERRORS as error:
        logger.warning("the database is unreachable: %s", error)
