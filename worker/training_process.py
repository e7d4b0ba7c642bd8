"""Run a training process (`python -m worker.training_process <worker> <number>`): one job after another.

Standard input has a message for each job, with the name and the number of the slot for which the process claims it. The
answer comes when the job has ended. A worker starts this process (worker/processes.py). It imports TensorFlow, which
the worker never does.
"""

import gc
import os
import signal
import sys
from dataclasses import replace

from shared import logs
from shared.database.engine import make_engine, make_sessions
from shared.jobs.broker import JobNotifier
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.processes.child import open_answers
from shared.processes.messages import READY, Message, read_message, write_message
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from shared.storage.scratch import Scratch
from shared.system import end_with_parent, limit_image_libraries
from worker.context import WorkerContext
from worker.process.devices import choose_queues, has_gpu
from worker.process.environment import set_tensorflow_environment
from worker.process.memory import trim_memory
from worker.runner import run_next_job

MAX_WAITING_IMAGES = 10_000
DECODING_WAIT_SECONDS = 3600.0
"""Limits of the queue for the decoding processes: only the threads of this process wait for them."""


class Shutdown:
    """The shutdown of this process, which a signal asks for: at once, or after a running job is handed back.

    Attributes:
        is_asked: whether a job must save a checkpoint and hand itself back.
        has_job: whether a job runs.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.has_job = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.is_asked = True
        if not self.has_job:
            sys.exit()


def main(worker: str, number: str) -> None:
    end_with_parent()
    shutdown = Shutdown()
    settings = Settings()
    logs.configure_logging(settings.log_level)
    limit_image_libraries(settings.max_image_pixels)
    with open_answers() as answers:
        Scratch(settings.data_dir / "scratch", worker).enter(number)
        context = make_context(settings, worker, shutdown)
        write_message(answers, READY)
        while (message := read_message(sys.stdin.buffer)) is not None:
            shutdown.has_job = True
            choose_gpu(int(message.payload))
            run_next_job(replace(context, worker=message.head.decode()))
            write_message(answers, Message(b"ended"))
            shutdown.has_job = False
            if shutdown.is_asked:
                return
            trim_memory()


def make_context(settings: Settings, worker: str, shutdown: Shutdown) -> WorkerContext:
    """Build the dependencies of the jobs, and import what the first job needs."""
    set_tensorflow_environment(onednn=settings.onednn)
    import tensorflow as tf

    from worker.warm_up import warm_up

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:  # otherwise one process takes the whole memory
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if not gpus:
        warm_up()
    gc.freeze()  # the garbage collection after each job then skips the objects of TensorFlow
    return WorkerContext(
        sessions=make_sessions(make_engine(settings.database_url)),
        artifacts=ArtifactStore(settings.artifacts_url),
        notifier=JobNotifier(settings.redis_url),
        worker=worker,
        queues=choose_queues(settings.device, gpu_here=has_gpu()),
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
        retry_policy=RetryPolicy(settings.max_attempts, settings.retry_seconds),
        max_running=settings.max_running_per_owner,
        is_shutting_down=lambda: shutdown.is_asked,
        count_gpus=lambda: len(gpus),
        end_process=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )


def choose_gpu(slot: int) -> None:
    """Let this process use one GPU alone: that of its slot. It serves one job then, and has not used a GPU before."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[slot % len(gpus)], "GPU")


if __name__ == "__main__":
    main(*sys.argv[1:])
