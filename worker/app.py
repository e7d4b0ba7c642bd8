"""Entry point of the worker and of the scheduler: Celery's app, its tasks, and what each of its processes builds."""

import functools
import gc
import os
import secrets
import socket
from typing import Any

from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker.consumer import Consumer
from sqlalchemy.pool import NullPool

from shared import jobs, logs
from shared.artifacts import ArtifactStore
from shared.database import make_engine, make_sessions
from shared.processes import end_with_parent
from shared.queue import MAINTENANCE_QUEUE, RECONCILE, TRAIN, Bell, make_celery
from shared.settings import Settings
from worker.children import LARGEST_KIB, let_go
from worker.devices import has_gpu, served_queues
from worker.reconcile import reconcile
from worker.runner import Yard, run_next_job

SECONDS_BETWEEN_SIGNS_OF_LIFE = 5.0

settings = Settings()
gpu_here = has_gpu()
queues = served_queues(settings.device, gpu_here=gpu_here)
# Known to the parent and, by the fork, to its children: the parent answers for the jobs that a child held.
worker_name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

celery = make_celery(settings.redis_url)
celery.conf.update(
    beat_schedule={
        RECONCILE: {
            "task": RECONCILE,
            "schedule": settings.reconcile_seconds,
            "options": {"queue": MAINTENANCE_QUEUE, "expires": settings.reconcile_seconds},
        }
    },
    beat_max_loop_interval=settings.reconcile_seconds,
    # TensorFlow never gives GPU memory back: a child that used a GPU is replaced, one that did not is kept.
    worker_max_tasks_per_child=1 if gpu_here else None,
    worker_max_memory_per_child=LARGEST_KIB,
    worker_proc_alive_timeout=300,  # a child is up once it has imported TensorFlow
)
bell = Bell(settings.redis_url)
# Without a pool: a connection that is open when a child is forked would be shared with it.
parent_sessions = make_sessions(make_engine(settings.database_url, poolclass=NullPool))


@celery.task(name=TRAIN)
def train_next() -> None:
    run_next_job(yard())
    let_go()


@celery.task(name=RECONCILE)
def set_right() -> None:
    reconcile(parent_sessions, bell, settings.max_attempts)


@functools.cache
def yard() -> Yard:
    """What a child works with, built in the child: TensorFlow does not survive a fork."""
    import tensorflow as tf

    import worker.evaluation
    import worker.export  # noqa: F401 - imported while idle, not when a job waits

    gc.freeze()  # a collection need not look through all of TensorFlow after each job
    return Yard(
        sessions=make_sessions(make_engine(settings.database_url)),
        artifacts=ArtifactStore(settings.artifacts_url),
        bell=bell,
        worker=worker_name,
        queues=queues,
        datasets_dir=settings.datasets_dir,
        cache_dir=settings.data_dir / "cache",
        lease_seconds=settings.lease_seconds,
        progress_seconds=settings.progress_seconds,
        count_gpus=lambda: len(tf.config.list_physical_devices("GPU")),
    )


@signals.setup_logging.connect
def configure_logging(**_: object) -> None:
    logs.configure(settings.log_level)


def prepare_child(**_: object) -> None:
    end_with_parent()
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


@signals.task_failure.connect
def answer_for_lost_child(exception: BaseException, **_: object) -> None:
    """Killed from outside, for want of memory as a rule: its job need not wait for the lease to run out."""
    if isinstance(exception, WorkerLostError):
        with parent_sessions.begin() as session:
            jobs.take_from_lost(session, worker_name, settings.max_attempts)
        set_right()


@signals.worker_shutting_down.connect
def hand_back(**_: Any) -> None:  # noqa: ANN401
    """The child notices that its attempt is fenced out, stops at the next batch, and the shutdown need not wait."""
    with parent_sessions.begin() as session:
        jobs.hand_back(session, worker_name)
