"""Start a program of the stack, restart it when it ends, and stop it with all its child processes."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from shared.system import end_with_parent

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""After a run of this time, a program restarts at once."""


class Program:
    """A program that is restarted when it ends.

    The minimum time between two starts grows with every restart, from 0 to MAX_PAUSE_SECONDS. After a run of more than
    STEADY_SECONDS, it is 0 again.

    Args:
        folder: working folder of the program.
        log_dir: folder for the file `<name>.log` with its output.
    """

    def __init__(self, name: str, command: list[str], folder: Path, log_dir: Path) -> None:
        self.name = name
        self._command = command
        self._folder = folder
        self.log = log_dir / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_seconds = 0.0

    @property
    def pid(self) -> int | None:
        """Return the process id, or None before the first start."""
        return self._process.pid if self._process is not None else None

    def keep_running(self) -> None:
        """Start the program, or restart it if it has ended. Call this repeatedly, and only from the main thread.

        The kernel stops the program when the thread that started it ends (`end_with_parent`).
        """
        if self._process is None:
            self._start()
        elif self._process.poll() is not None:
            ran_seconds = time.monotonic() - self._started_at
            if ran_seconds > STEADY_SECONDS:
                self._pause_seconds = 0.0
            if ran_seconds >= self._pause_seconds:
                logger.warning("%s ended with exit status %s and was restarted", self.name, self._process.returncode)
                self._pause_seconds = min(MAX_PAUSE_SECONDS, 2 * self._pause_seconds + 1)
                self._kill_group()
                self._start()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the program, but not to its child processes: it stops them itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait at most `seconds` for the program to end. Then kill it and the rest of its process group."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._kill_group()
        self._process.wait()

    def _start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches only the stack, which then stops its programs
                preexec_fn=_end_with_the_stack,  # noqa: PLW1509 - this process has one thread
            )
        self._started_at = time.monotonic()
        logger.info("%s started as process %d", self.name, self._process.pid)

    def _kill_group(self) -> None:
        assert self._process is not None  # noqa: S101 - called only after `_start`
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _end_with_the_stack() -> None:
    """Ask the kernel to send SIGTERM to the program when the stack itself is killed (on Linux)."""
    end_with_parent(signal.SIGTERM)
