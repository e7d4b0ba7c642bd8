"""Connect a worker to the signals of Celery: start, heartbeat, loss of the training process, and shutdown."""

import logging
import os
import threading
from typing import Any

from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker.consumer import Consumer

from shared import logs
from shared.jobs import lifecycle, workers
from shared.system import end_with_parent
from worker.app import Worker, tolerate_database_outage
from worker.process.usage import UsageMeter

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
RESCUE_SECONDS = 30.0
"""Time between two rescues by a worker, which are needed only if the scheduler is down."""
SHUTDOWN_SECONDS = 20.0
"""Time for the training process to save a checkpoint and to hand its job back. After it, the parent does so."""


def connect_worker(worker: Worker) -> None:
    """Connect the signals of a worker that runs jobs."""
    connect_scheduler(worker)
    handlers = _TrainingHandlers(worker)
    signals.worker_process_init.connect(handlers.prepare_training_process, weak=False)
    signals.worker_ready.connect(handlers.start_heartbeat, weak=False)


def connect_scheduler(worker: Worker) -> None:
    """Connect the signals of the scheduler, which a worker needs as well.

    The scheduler imports no TensorFlow and is not in the list of workers.
    """
    handlers = _Handlers(worker)
    signals.setup_logging.connect(handlers.configure_logging, weak=False)
    signals.beat_embedded_init.connect(handlers.prepare_beat, weak=False)
    signals.worker_ready.connect(handlers.look_for_work, weak=False)
    signals.worker_ready.connect(handlers.touch_alive_file, weak=False)
    signals.task_failure.connect(handlers.requeue_lost_job, weak=False)
    signals.worker_shutting_down.connect(handlers.begin_shutdown, weak=False)
    signals.worker_shutdown.connect(handlers.finish_shutdown, weak=False)


class _Handlers:
    """Handlers of the signals of a worker or a scheduler."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def configure_logging(self, **_: object) -> None:
        logs.configure_logging(self._worker.settings.log_level)

    def prepare_beat(self, **_: object) -> None:
        end_with_parent()

    def look_for_work(self, **_: object) -> None:
        """Requeue the jobs of lost workers, and notify of jobs that were queued while no worker was connected."""
        self._worker.rescue_jobs()

    def touch_alive_file(self, sender: Consumer, **_: object) -> None:
        """Touch the file for health checks, now and regularly. An old file shows that the event loop is blocked."""
        alive_file = self._worker.settings.alive_file
        if alive_file is not None:
            alive_file.touch()
            sender.timer.call_repeatedly(HEARTBEAT_SECONDS, alive_file.touch)

    def requeue_lost_job(self, exception: BaseException, **_: object) -> None:
        """Requeue the job of a training process that was killed, usually for lack of memory."""
        if isinstance(exception, WorkerLostError):
            worker = self._worker
            with tolerate_database_outage(), worker.sessions.begin() as session:
                lifecycle.rescue_from_worker(session, worker.name, worker.retry_policy)
            worker.rescue_jobs()

    def begin_shutdown(self, **_: Any) -> None:  # noqa: ANN401
        """Tell the training process to hand its job back, and hand it back here after SHUTDOWN_SECONDS.

        Celery itself waits for the training process without a limit.
        """
        self._worker.announce_shutdown()
        timer = threading.Timer(SHUTDOWN_SECONDS, self.finish_shutdown)
        timer.daemon = True
        timer.start()

    def finish_shutdown(self, **_: Any) -> None:  # noqa: ANN401
        """Hand back the job that the worker still holds, and record the exit of the worker.

        If the training still runs, its writes are rejected from now on, and it stops at its next batch.
        """
        worker = self._worker
        with tolerate_database_outage(), worker.sessions.begin() as session:
            lifecycle.hand_back_all(session, worker.name)
            workers.record_exit(session, worker.name)


class _TrainingHandlers:
    """Handlers of the signals that only a worker has: the start of its training process, and the heartbeat."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def prepare_training_process(self, **_: object) -> None:
        """Prepare a new training process: its temporary folder, and the import of TensorFlow before the first job."""
        end_with_parent()
        self._worker.scratch.enter()
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        logger.info("training process ready, %d GPUs", self._worker.context.count_gpus())

    def start_heartbeat(self, sender: Consumer, **_: object) -> None:
        """Start the heartbeat that the list of workers shows, and the regular rescue of jobs."""
        worker = self._worker

        meter = UsageMeter()
        meter.start()

        def beat() -> None:
            usage = meter.measure()
            with tolerate_database_outage(), worker.sessions.begin() as session:
                workers.record_heartbeat(session, worker.name, worker.host, worker.queues, usage)

        beat()
        sender.timer.call_repeatedly(HEARTBEAT_SECONDS, beat)
        sender.timer.call_repeatedly(RESCUE_SECONDS, worker.rescue_jobs)  # in case the scheduler is down
