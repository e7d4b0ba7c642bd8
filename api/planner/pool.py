"""Run planning processes, and share them among threads in turns by owner."""

import contextlib
import logging
import selectors
import subprocess
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from shared.errors import PlanningUnavailable

logger = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 30.0
"""Timeout for the start of a process, which imports Keras."""


class PlannerFailed(Exception):
    """Raised when a process ends before it answers, or does not answer in time."""


class PlanningProcess:
    """One planning process. It answers one line with one line, and is used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self.is_ready = False

    def start(self) -> None:
        """Start the process without waiting for it, unless it runs. Replaces a process that has ended."""
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            logger.info("planning process started")

    def ask(self, message: str, seconds: float) -> str:
        """Send one line and return the answer.

        Raises PlannerFailed after `seconds` and if the process ends, PlanningUnavailable if it does not start.
        """
        self.start()
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._await_readiness()
        try:
            self._process.stdin.write(message + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PlannerFailed("the planning process has ended") from error
        return self._read_line(seconds)

    def end(self) -> None:
        """Kill the process. It has no state to save, and it may be busy or blocked."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self.is_ready = False

    def _await_readiness(self) -> None:
        """Wait for the first line, which the process writes after the import of Keras. Raises PlanningUnavailable."""
        if self.is_ready:
            return
        try:
            self._read_line(START_TIMEOUT_SECONDS)
        except PlannerFailed as failure:
            self.end()
            raise PlanningUnavailable(
                "The planning process did not start. The log of the API contains the reason. Retry in a few seconds."
            ) from failure
        self.is_ready = True

    def _read_line(self, seconds: float) -> str:
        """Read one line. Raises PlannerFailed at the end of the output and after the timeout."""
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise PlannerFailed(f"planning took longer than {seconds:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise PlannerFailed("the planning process ended without an answer")
        return line


class ProcessPool:
    """A bounded queue for a fixed number of planning processes.

    A process that becomes free is given to the owner whose last turn was the longest ago, so that the many specs of one
    owner do not delay the few of another.

    Args:
        size: number of processes.
        max_waiting: the most requests that wait for a process.
        seconds: the longest time that a request waits.
    """

    def __init__(self, command: Sequence[str], size: int, max_waiting: int, seconds: float) -> None:
        self.processes = [PlanningProcess(command) for _ in range(size)]
        self._free = list(self.processes)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._waiting: OrderedDict[str, deque[_Ticket]] = OrderedDict()  # by owner, the next turn first
        self._changing = threading.Lock()  # protects `_free` and `_waiting`

    @contextlib.contextmanager
    def use_process(self, owner: str) -> Iterator[PlanningProcess]:
        """Provide a process to this thread alone. Raises PlanningUnavailable if the queue is full or slow."""
        process = self._take(owner)
        try:
            yield process
        finally:
            self._give_back(process)

    def start(self) -> None:
        """Start all processes. Call it before the first request."""
        for process in self.processes:
            process.start()

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.end()

    def _take(self, owner: str) -> PlanningProcess:
        with self._changing:
            if self._free:
                ready = next((process for process in self._free if process.is_ready), self._free[0])
                self._free.remove(ready)
                return ready
            count = sum(map(len, self._waiting.values()))
            if count >= self._max_waiting:
                raise PlanningUnavailable(f"{count} specs wait to be planned, the limit. Retry in a few seconds.")
            ticket = _Ticket()
            self._waiting.setdefault(owner, deque()).append(ticket)
        if not ticket.turn.wait(self._seconds):
            with self._changing:
                if ticket.process is None:
                    self._remove(owner, ticket)
                    raise PlanningUnavailable(
                        f"The spec waited {self._seconds:g} s to be planned, the limit. Retry in a few seconds."
                    )
        assert ticket.process is not None  # noqa: S101 - it was given with the turn
        return ticket.process

    def _give_back(self, process: PlanningProcess) -> None:
        with self._changing:
            if not self._waiting:
                self._free.append(process)
                return
            owner, tickets = next(iter(self._waiting.items()))
            ticket = tickets[0]
            self._remove(owner, ticket)
            if owner in self._waiting:
                self._waiting.move_to_end(owner)
            ticket.process = process
        ticket.turn.set()

    def _remove(self, owner: str, ticket: "_Ticket") -> None:
        tickets = self._waiting[owner]
        tickets.remove(ticket)
        if not tickets:
            del self._waiting[owner]


class _Ticket:
    """A request that waits. `process` is set before `turn`."""

    def __init__(self) -> None:
        self.turn = threading.Event()
        self.process: PlanningProcess | None = None
