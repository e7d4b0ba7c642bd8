"""Start the training processes of a worker, give them jobs, and replace them."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from signal import SIGTERM

import psutil

from shared.processes.child import ChildFailed, ChildNotStarted, ChildProcess
from shared.processes.messages import Message
from worker.process.memory import MAX_PROCESS_BYTES, get_available_bytes

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""The longest time until a process is ready: it has to import TensorFlow first."""
KEEP_SECONDS = 0.2
"""Time between two looks at the processes that run no job."""
LOOK_SECONDS = 0.02
"""Time between two looks for a process that is ready, while a job waits for it."""
REST_SECONDS = 1.0
"""Time in which a process returns the memory of its last job to the system."""
PAUSE_SECONDS = 2.0
"""The least time between two starts of a process, for example of one that lacks memory."""


class TrainingProcesses:
    """The training processes of a worker: one for each job that it runs at a time, and a spare one that is ready.

    A thread keeps them: it starts them, and replaces those that ended or hold too much memory. A job does not wait for
    the import of TensorFlow then, because the spare process takes it.

    Args:
        command: command line of a process. Its number, from 0, is added.
        slots: how many jobs run at the same time.
        spare_memory_bytes: memory that must stay available beside the spare process. With less, there is none.
        one_job_each: whether a process runs one job only.
        on_lost: called with the name of the slot whose process has ended in the middle of a job.
    """

    def __init__(
        self,
        command: Sequence[str],
        slots: int,
        spare_memory_bytes: int,
        *,
        one_job_each: bool,
        on_lost: Callable[[str], None],
    ) -> None:
        self._slots = slots
        self._spare_memory_bytes = spare_memory_bytes
        self._one_job_each = one_job_each
        self._on_lost = on_lost
        self._processes = [_TrainingProcess([*command, str(number)]) for number in range(slots + 1)]
        self._changing = threading.Lock()  # guards what runs and `is_busy`
        self._shutting_down = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="training-processes", daemon=True)

    def start(self) -> None:
        """Start the thread, which starts the processes. The kernel ends them with it."""
        self._thread.start()

    def run_job(self, slot: str, number: int) -> None:
        """Let a process run the next job under the name `slot`, once one is ready. Returns when the job has ended.

        `number` is that of the slot, from 0: each slot has its GPU.
        """
        process = self._take()
        if process is None:
            return
        try:
            process.child.ask(Message(slot.encode(), str(number).encode()), seconds=None)
        except ChildFailed as failure:
            logger.warning("the training process of %s is gone: %s", slot, failure)
            process.child.end()
            self._on_lost(slot)
        finally:
            with self._changing:
                if self._one_job_each:
                    process.child.end()
                process.is_busy = False
                process.idle_since = time.monotonic()

    def announce_shutdown(self) -> None:
        """Tell the processes to save checkpoints and to hand their jobs back. Safe in a signal handler."""
        self._shutting_down = True
        for process in self._processes:
            process.child.send_signal(SIGTERM)

    def close(self) -> None:
        """End all processes."""
        self._shutting_down = True
        self._closed.set()
        for process in self._processes:
            process.child.end()

    def _take(self) -> "_TrainingProcess | None":
        """Take a process that is ready, the one that is idle for the longest time. Returns None at the shutdown."""
        while not self._shutting_down:
            with self._changing:
                ready = [process for process in self._processes if self._is_ready(process)]
                if ready:
                    taken = min(ready, key=lambda process: process.idle_since)
                    taken.is_busy = True
                    return taken
            time.sleep(LOOK_SECONDS)
        return None

    def _is_ready(self, process: "_TrainingProcess") -> bool:
        """Return whether the process can take a job. Ends it if it has not become ready in time."""
        if process.is_busy or process.child.pid is None:
            return False
        try:
            ready = process.child.look_whether_ready()
            if not ready and process.started_at < time.monotonic() - START_SECONDS:
                raise ChildNotStarted(f"a training process was not ready after {START_SECONDS:g} s")
        except ChildNotStarted as failure:
            logger.error("%s", failure)
            ready = False
            process.child.end()
        return ready

    def _keep(self) -> None:
        while not self._closed.wait(KEEP_SECONDS):
            with self._changing:
                if not self._shutting_down:
                    self._replace_large()
                    self._start_missing()

    def _replace_large(self) -> None:
        """End the idle processes that hold too much memory."""
        rested = time.monotonic() - REST_SECONDS
        for process in self._processes:
            if self._is_ready(process) and process.idle_since < rested:
                held = _read_resident_bytes(process.child.pid)
                if held > MAX_PROCESS_BYTES:
                    logger.info("replaced a training process that holds %d MiB", held // 2**20)
                    process.child.end()

    def _start_missing(self) -> None:
        """Start the processes of the slots, and the spare one once those are ready, if there is memory for it."""
        running = [process for process in self._processes if process.child.pid is not None]
        available = get_available_bytes()
        if len(running) > self._slots and available < self._spare_memory_bytes:
            spare = next((process for process in running if self._is_ready(process)), None)
            if spare is not None:
                logger.warning("ended the spare training process: %d MiB of memory are available", available // 2**20)
                spare.child.end()
            return
        wanted = self._slots
        if available > self._spare_memory_bytes + MAX_PROCESS_BYTES and all(
            process.is_busy or self._is_ready(process) for process in running
        ):
            wanted += 1
        for process in self._processes:
            if len(running) < wanted and process.child.pid is None and not process.is_busy:
                self._start(process)
                running.append(process)

    def _start(self, process: "_TrainingProcess") -> None:
        """Start a process, unless its last start was less than PAUSE_SECONDS ago."""
        if process.started_at > time.monotonic() - PAUSE_SECONDS:
            return
        process.started_at = time.monotonic()
        try:
            process.child.start()
        except ChildNotStarted as failure:
            logger.error("%s", failure)


def _read_resident_bytes(pid: int | None) -> int:
    """Return the resident memory of a process, 0 if it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid is not None else 0
    except psutil.NoSuchProcess:
        return 0


class _TrainingProcess:
    """A training process, and what it does. The times are of the monotonic clock."""

    def __init__(self, command: Sequence[str]) -> None:
        self.child = ChildProcess("training", command, START_SECONDS)
        self.is_busy = False
        self.idle_since = 0.0
        self.started_at = -PAUSE_SECONDS
