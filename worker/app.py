"""Entry point of the worker and of the scheduler: Celery's app, its tasks, and what each of its processes builds."""

import functools
import gc
import logging
import mmap
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker.consumer import Consumer
from sqlalchemy.pool import NullPool

from shared import logs
from shared.database.engine import DATABASE_ERRORS, make_engine, make_sessions
from shared.jobs import lifecycle, workers
from shared.jobs.broker import MAINTENANCE_QUEUE, RECONCILE, TIDY, TRAIN, JobNotifier, make_celery
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from shared.system import end_with_parent
from worker.context import WorkerContext
from worker.maintenance.rescue import rescue_jobs
from worker.maintenance.retention import Retention, clean_up
from worker.process.devices import choose_queues, has_gpu
from worker.process.memory import MAX_PROCESS_KIB, trim_memory
from worker.process.scratch import Scratch
from worker.runner import run_next_job

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_SIGNS_OF_LIFE = 5.0
SECONDS_BETWEEN_LOOKS = 30.0
SECONDS_TO_LEAVE = 20.0
"""For a training to write its checkpoint and hand its job back, before it is done for it."""
SECONDS_BETWEEN_TIDYINGS = 600.0

settings = Settings()
gpu_here = has_gpu()
queues = choose_queues(settings.device, gpu_here=gpu_here)
host = socket.gethostname()
# Known to the parent and, by the fork, to its children: the parent answers for the jobs that a child held.
worker_name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"

retry_policy = RetryPolicy(settings.max_attempts, settings.retry_seconds)
# Shared with the children: written by the parent when it is told to shut down. A lock could not be taken in a signal.
leaving = mmap.mmap(-1, 1)

scratch = Scratch(settings.data_dir / "scratch", worker_name)

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
            "schedule": min(SECONDS_BETWEEN_TIDYINGS, settings.sweep_after_seconds),
            "options": {"queue": MAINTENANCE_QUEUE, "expires": SECONDS_BETWEEN_TIDYINGS},
        },
    },
    beat_max_loop_interval=settings.reconcile_seconds,
    # TensorFlow never gives GPU memory back: a child that used a GPU is replaced, one that did not is kept.
    worker_max_tasks_per_child=1 if gpu_here else None,
    worker_max_memory_per_child=MAX_PROCESS_KIB,
    worker_disable_prefetch=True,  # a busy worker would take a bell that an idle one could answer
    worker_proc_alive_timeout=300,  # a child is up once it has imported TensorFlow
)
notifier = JobNotifier(settings.redis_url)
# Without a pool: a connection that is open when a child is forked would be shared with it.
parent_sessions = make_sessions(make_engine(settings.database_url, poolclass=NullPool))


@contextmanager
def bearing_without_database() -> Iterator[None]:
    """What is not done now is done at the next turn, or when a lease has run out."""
    try:
        yield
    except DATABASE_ERRORS as error:
        logger.warning("the database is out of reach: %s", error)


@celery.task(name=TRAIN)
def train_next() -> None:
    run_next_job(yard())
    trim_memory()


@celery.task(name=RECONCILE)
def set_right() -> None:
    with bearing_without_database():
        rescue_jobs(parent_sessions, notifier, retry_policy)


@celery.task(name=TIDY)
def tidy_up() -> None:
    retention = Retention(
        settings.retain_checkpoints_days,
        settings.retain_events_days,
        settings.retain_predictions_days,
        settings.sweep_after_seconds,
    )
    with bearing_without_database():
        clean_up(parent_sessions, ArtifactStore(settings.artifacts_url), retention)


@functools.cache
def yard() -> WorkerContext:
    """What a child works with, built in the child: TensorFlow does not survive a fork."""
    import tensorflow as tf

    import worker.training.evaluation
    import worker.training.export  # noqa: F401 - imported while idle, not when a job waits

    gc.freeze()  # a collection need not look through all of TensorFlow after each job
    return WorkerContext(
        sessions=make_sessions(make_engine(settings.database_url)),
        artifacts=ArtifactStore(settings.artifacts_url),
        notifier=notifier,
        worker=worker_name,
        queues=queues,
        datasets_dir=settings.datasets_dir,
        cache_dir=settings.data_dir / "cache",
        image_limits=ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
        lease_seconds=settings.lease_seconds,
        progress_seconds=settings.progress_seconds,
        retry_policy=retry_policy,
        max_running=settings.max_running_per_owner,
        is_shutting_down=lambda: leaving[0] != 0,
        count_gpus=lambda: len(tf.config.list_physical_devices("GPU")),
    )


@signals.setup_logging.connect
def configure_logging(**_: object) -> None:
    logs.configure_logging(settings.log_level)


def prepare_child(**_: object) -> None:
    end_with_parent()
    scratch.enter()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    yard()


@signals.beat_embedded_init.connect
def prepare_beat(**_: object) -> None:
    end_with_parent()


@signals.worker_ready.connect
def look_for_work(**_: object) -> None:
    """Bells may have rung while nobody listened."""
    set_right()


@signals.worker_ready.connect
def show_signs_of_life(sender: Consumer, **_: object) -> None:
    """For health checks: the file is as old as the last turn of the event loop."""
    if settings.alive_file is not None:
        settings.alive_file.touch()
        sender.timer.call_repeatedly(SECONDS_BETWEEN_SIGNS_OF_LIFE, settings.alive_file.touch)


def be_listed(sender: Consumer, **_: object) -> None:
    """Among the workers that the API shows."""

    def beat() -> None:
        with bearing_without_database(), parent_sessions.begin() as session:
            workers.record_heartbeat(session, worker_name, host, queues)

    beat()
    sender.timer.call_repeatedly(SECONDS_BETWEEN_SIGNS_OF_LIFE, beat)
    sender.timer.call_repeatedly(SECONDS_BETWEEN_LOOKS, set_right)  # a scheduler may be frozen or gone


@signals.task_failure.connect
def answer_for_lost_child(exception: BaseException, **_: object) -> None:
    """Killed from outside, for want of memory as a rule: its job need not wait for the lease to run out."""
    if isinstance(exception, WorkerLostError):
        with bearing_without_database(), parent_sessions.begin() as session:
            lifecycle.rescue_from_worker(session, worker_name, retry_policy)
        set_right()


@signals.worker_shutting_down.connect
def leave(**_: Any) -> None:  # noqa: ANN401
    """The child writes a checkpoint and hands its job back; Celery waits for it, but we do not wait for ever."""
    leaving[0] = 1
    timer = threading.Timer(SECONDS_TO_LEAVE, let_all_go)
    timer.daemon = True
    timer.start()


@signals.worker_shutdown.connect
def let_all_go(**_: Any) -> None:  # noqa: ANN401
    """A child that has not let go finds that it is fenced out, stops at its next batch, and writes nothing more."""
    with bearing_without_database(), parent_sessions.begin() as session:
        lifecycle.hand_back_all(session, worker_name)
        workers.record_exit(session, worker_name)
