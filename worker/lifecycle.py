"""Connect a worker to the signals of Celery: start, heartbeat and shutdown."""

import threading
from typing import Any

from celery import signals
from celery.worker.consumer import Consumer

from shared import logs
from shared.jobs import lifecycle, workers
from shared.system import end_with_parent
from worker.app import Worker, tolerate_database_outage
from worker.process.usage import UsageMeter

HEARTBEAT_SECONDS = 5.0
RESCUE_SECONDS = 30.0
"""Time between two rescues by a worker, which are needed only if the scheduler is down."""
SHUTDOWN_SECONDS = 20.0
"""Time for the training processes to save checkpoints and to hand their jobs back. After it, the worker does so."""


def connect_worker(worker: Worker) -> None:
    """Connect the signals of a worker that runs jobs."""
    connect_scheduler(worker)
    signals.worker_ready.connect(_Heart(worker).start, weak=False)


def connect_scheduler(worker: Worker) -> None:
    """Connect the signals of the scheduler, which a worker needs as well.

    The scheduler imports no TensorFlow and is not in the list of workers.
    """
    handlers = _Handlers(worker)
    signals.setup_logging.connect(handlers.configure_logging, weak=False)
    signals.beat_embedded_init.connect(handlers.prepare_beat, weak=False)
    signals.worker_ready.connect(handlers.look_for_work, weak=False)
    signals.worker_ready.connect(handlers.touch_alive_file, weak=False)
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

    def begin_shutdown(self, **_: Any) -> None:  # noqa: ANN401
        """Tell the training processes to hand their jobs back, and do so here after SHUTDOWN_SECONDS.

        Celery itself waits for its tasks without a limit.
        """
        self._worker.processes.announce_shutdown()
        timer = threading.Timer(SHUTDOWN_SECONDS, self.finish_shutdown)
        timer.daemon = True
        timer.start()

    def finish_shutdown(self, **_: Any) -> None:  # noqa: ANN401
        """Hand back the jobs that the worker still holds, record its exit, and end its training processes."""
        worker = self._worker
        with tolerate_database_outage(), worker.sessions.begin() as session:
            for slot in worker.slots:
                lifecycle.hand_back_all(session, slot)
                workers.record_exit(session, slot)
        worker.processes.close()


class _Heart:
    """The heartbeat of a worker, and its rescue of jobs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def start(self, sender: Consumer, **_: object) -> None:
        """Start the heartbeat that the list of workers shows, and the regular rescue of jobs."""
        worker = self._worker
        meter = UsageMeter()
        meter.start()

        def beat() -> None:
            usage = meter.measure()
            with tolerate_database_outage(), worker.sessions.begin() as session:
                for slot in worker.slots:
                    workers.record_heartbeat(session, slot, worker.host, worker.queues, usage)

        beat()
        sender.timer.call_repeatedly(HEARTBEAT_SECONDS, beat)
        sender.timer.call_repeatedly(RESCUE_SECONDS, worker.rescue_jobs)  # in case the scheduler is down
