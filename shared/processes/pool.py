"""Share child processes among threads, in turns by owner."""

import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from shared.errors import ServiceError
from shared.processes.child import ChildFailed, ChildNotStarted, ChildProcess
from shared.processes.messages import Message

logger = logging.getLogger(__name__)


class ProcessPool:
    """A bounded queue for a fixed number of child processes that do the same work.

    A process that becomes free is given to the owner whose last turn was the longest ago, so that the many requests of
    one owner do not delay the few of another.

    Args:
        work: what the processes do, for messages: `planning`.
        command: command line of a process.
        size: number of processes.
        max_waiting: the most requests that wait for a process.
        wait_seconds: the longest time that a request waits.
        unavailable: the error for a request that no process can answer now.
    """

    def __init__(
        self,
        work: str,
        command: Sequence[str],
        size: int,
        max_waiting: int,
        wait_seconds: float,
        unavailable: type[ServiceError],
    ) -> None:
        self.processes = [ChildProcess(work, command) for _ in range(size)]
        self._work = work
        self._free = list(self.processes)
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._unavailable = unavailable
        self._waiting: OrderedDict[str, deque[_Ticket]] = OrderedDict()  # by owner, the next turn first
        self._changing = threading.Lock()  # protects `_free` and `_waiting`

    def ask(self, message: Message, seconds: float, owner: str = "") -> Message:
        """Send a message to a process and return its answer. `owner` is who waits in the queue.

        A process that fails is replaced, and is not asked again: the message may be the reason for the failure.

        Raises ChildFailed, or `unavailable` if the queue is full or slow, or no process starts.
        """
        with self.use_process(owner) as process:
            try:
                return process.ask(message, seconds)
            except ChildNotStarted as failure:
                process.end()
                raise self._unavailable(
                    f"The process for {self._work} did not start. The log contains the reason. Retry in a few seconds."
                ) from failure
            except ChildFailed as failure:
                logger.warning("replaced the process for %s: %s", self._work, failure)
                process.end()
                with contextlib.suppress(ChildNotStarted):  # the next request starts it
                    process.start()
                raise
            except BaseException:  # its answer, which can still come, is not for the next request
                process.end()
                raise

    @contextlib.contextmanager
    def use_process(self, owner: str) -> Iterator[ChildProcess]:
        """Provide a process to this thread alone. Raises `unavailable` if the queue is full or slow."""
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

    def _take(self, owner: str) -> ChildProcess:
        with self._changing:
            if self._free:
                ready = next((process for process in self._free if process.is_ready), self._free[0])
                self._free.remove(ready)
                return ready
            count = sum(map(len, self._waiting.values()))
            if count >= self._max_waiting:
                raise self._unavailable(f"{count} requests wait for {self._work}, the limit. Retry in a few seconds.")
            ticket = _Ticket()
            self._waiting.setdefault(owner, deque()).append(ticket)
        if not ticket.turn.wait(self._wait_seconds):
            with self._changing:
                if ticket.process is None:
                    self._remove(owner, ticket)
                    raise self._unavailable(
                        f"The request waited {self._wait_seconds:g} s for {self._work}, the limit. Retry in a few "
                        "seconds."
                    )
        assert ticket.process is not None  # noqa: S101 - it was given with the turn
        return ticket.process

    def _give_back(self, process: ChildProcess) -> None:
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
        self.process: ChildProcess | None = None
