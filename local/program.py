"""One program of the stack: started, restarted when it dies, ended with all it started."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shared.system import end_with_parent

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0


class Program:
    """Restarted at once when it ran for a while, and after ever longer pauses when it did not."""

    def __init__(self, name: str, command: list[str], folder: Path, log_dir: Path | None) -> None:
        self.name = name
        self._command = command
        self._folder = folder
        self._log_dir = log_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_seconds = 0.0

    @property
    def pid(self) -> int | None:
        """None before it was started."""
        return self._process.pid if self._process is not None else None

    def keep_running(self) -> None:
        """To be called again and again, from the main thread: what it starts ends with the thread that started it."""
        if self._process is None:
            self._start()
        elif self._process.poll() is not None:
            ran_seconds = time.monotonic() - self._started_at
            if ran_seconds > STEADY_SECONDS:
                self._pause_seconds = 0.0
            if ran_seconds >= self._pause_seconds:
                logger.warning("%s ended with %s and was restarted", self.name, self._process.returncode)
                self._pause_seconds = min(MAX_PAUSE_SECONDS, 2 * self._pause_seconds + 1)
                self._kill_group()
                self._start()

    def ask_to_end(self) -> None:
        """The program itself; it ends its own children, in its own order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """By force after so many seconds, and with whatever is left of its process group."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._kill_group()
        self._process.wait()

    def _start(self) -> None:
        with self._output() as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the stack, which ends its programs in order
                preexec_fn=_end_with_the_stack,  # noqa: PLW1509 - there is a single thread
            )
        self._started_at = time.monotonic()
        logger.info("%s started, process %d", self.name, self._process.pid)

    def _kill_group(self) -> None:
        assert self._process is not None  # noqa: S101 - called once there is one
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | None]:
        if self._log_dir is None:
            yield None
            return
        with (self._log_dir / f"{self.name}.log").open("ab") as log:
            yield log


def _end_with_the_stack() -> None:
    end_with_parent(signal.SIGTERM)
