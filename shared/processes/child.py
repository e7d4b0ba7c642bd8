"""Run a child process that answers messages."""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from shared.processes.messages import READY, Message, read_message, write_message

logger = logging.getLogger(__name__)

PARENT_CHECK_SECONDS = 2.0
START_TIMEOUT_SECONDS = 30.0
"""Timeout for the start of a process, which can import Keras."""


class ChildFailed(Exception):
    """Raised when a child process ends before it answers, or does not answer in time."""


class ChildNotStarted(ChildFailed):
    """Raised when a child process ends, or is not ready in time, before it has a message to answer."""


class ChildTimedOut(ChildFailed):
    """Raised when a child process does not answer in time: it can be that the machine is busy."""


class ChildProcess:
    """A child process. It answers one message with one message, and is used by one thread at a time.

    It ends when this process ends, also when that is killed.

    Args:
        work: what it does, for messages: `planning`.
        command: its command line. It writes READY to its standard output before the first answer.
        start_seconds: the longest time until it is ready.
    """

    def __init__(self, work: str, command: Sequence[str], start_seconds: float = START_TIMEOUT_SECONDS) -> None:
        self._work = work
        self._command = command
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()  # two threads can end the process at the same time
        self.is_ready = False

    def start(self) -> None:
        """Start the process without waiting for it, unless it runs. Replaces a process that has ended.

        Raises ChildNotStarted.
        """
        if self._process is None or self._process.poll() is not None:
            self.end()
            try:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:  # too many processes or open files
                raise ChildNotStarted(f"the process for {self._work} did not start: {error}") from error
            logger.info("started the process for %s", self._work)

    @property
    def pid(self) -> int | None:
        """Return the process id; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs. A signal handler can call this."""
        if self._process is not None:
            self._process.send_signal(number)

    def look_whether_ready(self) -> bool:
        """Return whether the process is ready, without waiting for it.

        Raises ChildNotStarted if it has ended before it was ready.
        """
        if not self.is_ready and self._can_read(0):
            self._await_readiness()
        return self.is_ready

    def ask(self, message: Message, seconds: float | None) -> Message:
        """Send a message and return the answer. Waits without a limit if `seconds` is None.

        Raises ChildNotStarted, or ChildFailed after `seconds` and if the process ends. The process must then be ended.
        """
        self.start()
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._await_readiness()
        try:
            write_message(self._process.stdin, message)
        except OSError as error:
            raise ChildFailed(f"the process for {self._work} has ended") from error
        return self._read(seconds)

    def end(self) -> None:
        """Kill the process. It has no state to save, and it may be busy or blocked. Safe for threads."""
        with self._ending:
            if self._process is not None:
                self._process.kill()
                with contextlib.suppress(BrokenPipeError):  # of an unsent part of a message
                    self._process.communicate()
                self._process = None
            self.is_ready = False

    def _await_readiness(self) -> None:
        if self.is_ready:
            return
        try:
            self._read(self._start_seconds)
        except ChildFailed as failure:
            raise ChildNotStarted(f"the process for {self._work} did not start") from failure
        self.is_ready = True

    def _read(self, seconds: float | None) -> Message:
        """Read one message. Raises ChildFailed at the end of the output and after the timeout."""
        if not self._can_read(seconds):
            raise ChildTimedOut(f"{self._work} took longer than {seconds:g} s")
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        message = read_message(self._process.stdout)
        if message is None:
            self._process.kill()
            if self._process.wait() == -signal.SIGXCPU:
                raise ChildFailed(f"{self._work} took more processor time than its limit")
            raise ChildFailed(f"the process for {self._work} ended without an answer")
        return message

    def _can_read(self, seconds: float | None) -> bool:
        """Wait for output of the process, or for its end."""
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return bool(selector.select(seconds))


def serve_messages(prepare: Callable[[], Callable[[Message], Message]]) -> None:
    """Answer the messages of standard input until it ends, in a child process.

    `prepare` imports what is needed and returns the function that answers. What it and the libraries print goes to
    standard error, so that standard output contains only answers.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()
    with open_answers() as answers:
        respond = prepare()
        write_message(answers, READY)
        while (message := read_message(sys.stdin.buffer)) is not None:
            write_message(answers, respond(message))


@contextlib.contextmanager
def open_answers() -> Iterator[IO[bytes]]:
    """Open the stream for the messages of this child process. What is printed goes to standard error from now on."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        yield answers


def _end_with_parent(parent: int) -> None:
    """End this process soon after its parent, also in the middle of an answer.

    `end_with_parent` of shared/system.py would end it with the thread that started it.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
