"""Build a worker: the objects that its processes share, and its Celery app with three tasks."""

import functools
import gc
import logging
import mmap
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from sqlalchemy.pool import NullPool

from shared.database.engine import DATABASE_ERRORS, make_engine, make_sessions
from shared.jobs.broker import MAINTENANCE_QUEUE, RECONCILE, TIDY, TRAIN, JobNotifier, make_celery
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from shared.storage.scratch import Scratch
from worker.context import WorkerContext
from worker.maintenance.image_caches import clean_caches
from worker.maintenance.rescue import rescue_jobs
from worker.maintenance.retention import Retention, clean_up
from worker.process.devices import choose_queues, has_gpu
from worker.process.memory import MAX_PROCESS_KIB, trim_memory
from worker.runner import run_next_job

logger = logging.getLogger(__name__)

CLEAN_UP_SECONDS = 600.0
"""The longest time between two runs of the clean-up."""
MAX_WAITING_IMAGES = 10_000
DECODING_WAIT_SECONDS = 3600.0
"""Limits of the queue for the decoding processes of the worker: only its own threads wait for them."""
TRAINING_PROCESS_START_SECONDS = 300
"""Celery replaces a training process that is not ready after this time. It has to import TensorFlow first."""


class Worker:
    """A worker: a parent process that receives messages from Redis, and a training process that the parent forks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gpu_here = has_gpu()
        self.queues = choose_queues(settings.device, gpu_here=self.gpu_here)
        self.host = socket.gethostname()
        # Both processes use the same name, so the parent can requeue the job of a lost training process.
        self.name = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.retry_policy = RetryPolicy(settings.max_attempts, settings.retry_seconds)
        self.scratch = Scratch(settings.data_dir / "scratch", self.name)
        self.notifier = JobNotifier(settings.redis_url)
        # For the parent. It has no pool, because a fork would share open connections with the training process.
        self.sessions = make_sessions(make_engine(settings.database_url, poolclass=NullPool))
        # Memory that both processes share. The parent sets it in a signal handler, where a lock could block forever.
        self._shutting_down = mmap.mmap(-1, 1)

    def announce_shutdown(self) -> None:
        """Tell the training process to save a checkpoint and to hand its job back. Safe in a signal handler."""
        self._shutting_down[0] = 1

    def is_shutting_down(self) -> bool:
        return self._shutting_down[0] != 0

    @functools.cached_property
    def context(self) -> WorkerContext:
        """Build the dependencies of the training process. Use it only there: TensorFlow does not survive a fork."""
        import tensorflow as tf

        import worker.training.evaluation
        import worker.training.export  # noqa: F401 - imported before the first job, which then need not wait for it

        gc.freeze()  # the garbage collection after each job then skips the objects of TensorFlow
        settings = self.settings
        return WorkerContext(
            sessions=make_sessions(make_engine(settings.database_url)),
            artifacts=ArtifactStore(settings.artifacts_url),
            notifier=self.notifier,
            worker=self.name,
            queues=self.queues,
            datasets_dir=settings.datasets_dir,
            cache_dir=settings.data_dir / "cache",
            decoder=ImageDecoder(
                ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
                parallel_here=os.cpu_count() or 1,
                max_waiting=MAX_WAITING_IMAGES,
                wait_seconds=DECODING_WAIT_SECONDS,
            ),
            lease_seconds=settings.lease_seconds,
            progress_seconds=settings.progress_seconds,
            retry_policy=self.retry_policy,
            max_running=settings.max_running_per_owner,
            is_shutting_down=self.is_shutting_down,
            count_gpus=lambda: len(tf.config.list_physical_devices("GPU")),
            end_process=lambda: os.kill(os.getpid(), signal.SIGKILL),
        )

    def rescue_jobs(self) -> None:
        """Requeue the jobs of lost workers, and notify workers of the queued jobs."""
        with tolerate_database_outage():
            rescue_jobs(self.sessions, self.notifier, self.retry_policy)

    def clean_up(self) -> None:
        """Delete data after its retention period, files that nothing references, and what the caches hold too much."""
        settings = self.settings
        retention = Retention(
            settings.retain_checkpoints_days,
            settings.retain_events_days,
            settings.retain_predictions_days,
            settings.sweep_after_seconds,
        )
        with tolerate_database_outage():
            clean_up(self.sessions, ArtifactStore(settings.artifacts_url), retention)
        clean_caches(settings.data_dir / "cache", settings.max_cache_bytes)


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
        # TensorFlow never releases GPU memory, so on a machine with a GPU each message gets a new training process.
        worker_max_tasks_per_child=1 if worker.gpu_here else None,
        worker_max_memory_per_child=MAX_PROCESS_KIB,
        worker_disable_prefetch=True,  # a busy worker must not reserve a message while another worker is idle
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
    """Log errors of an unreachable database instead of raising them.

    The next run of the task repeats the work. A job that was not requeued is rescued when its lease expires.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        logger.warning("database unreachable, work left to a later run: %s", error)
