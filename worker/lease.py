"""Holding a job: a thread renews the lease, writes what the training reports, and learns whether it is to stop."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.jobs import JobStatus
from shared.jobs import lifecycle
from shared.jobs.events import EpochReport, LogLine
from shared.jobs.lifecycle import LeaseLost

logger = logging.getLogger(__name__)

Written = TypeVar("Written")

MAX_LOG_LINES = 1000

POLL_SECONDS = 2.0
"""Between two looks at the job while there is nothing to report: so late can a cancellation be noticed."""


class JobCancelled(Exception):
    """The job's owner wants it to end, and nothing of it."""


class WorkerShutdown(Exception):
    """This process is to end: the job goes on elsewhere."""


class Lease:
    """The training calls `check`, `progress` and `epoch`; none of them waits for the database.

    A database out of reach is borne until the lease would have run out: from then on the job may be another's.
    """

    def __init__(
        self,
        sessions: Sessions,
        job_id: UUID,
        attempt: int,
        lease_seconds: float,
        progress_seconds: float,
        is_shutting_down: Callable[[], bool],
    ) -> None:
        self._sessions = sessions
        self._job_id = job_id
        self._attempt = attempt
        self._lease_seconds = lease_seconds
        self._progress_seconds = progress_seconds
        self.is_shutting_down = is_shutting_down
        self._stop_asked = False
        self._held_until = time.monotonic() + lease_seconds
        self._next_look = time.monotonic() + POLL_SECONDS
        self._ended_by: LeaseLost | JobCancelled | None = None
        self._progress: dict[str, Any] | None = None
        self._epochs: list[EpochReport] = []
        self._lines: list[LogLine] = []
        self._lines_left = MAX_LOG_LINES
        self._news = threading.Lock()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew_regularly, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._ended_by is None and (self._progress or self._epochs or self._lines):
            self._renew()  # what a training that failed had still to tell

    def check(self) -> None:
        """Raises LeaseLost or JobCancelled once there is no use in going on."""
        if self._ended_by is not None:
            raise self._ended_by

    def is_stopping(self) -> bool:
        return self._stop_asked

    def shut_down(self) -> None:
        """Raises WorkerLeaves."""
        raise WorkerShutdown

    def report_progress(self, progress: dict[str, Any]) -> None:
        with self._news:
            self._progress = progress

    def report_epoch(self, report: EpochReport) -> None:
        with self._news:
            self._epochs.append(report)

    def add_log_line(self, line: LogLine) -> None:
        """For the job's log, which has an end: nobody reads the ten thousandth line."""
        with self._news:
            if self._lines_left:
                self._lines_left -= 1
                self._lines.append(line)

    def flush(self) -> None:
        """Writes what is still unwritten and looks once more. Raises LeaseLost or JobCancelled."""
        self._renew()
        self.check()

    def flush_epochs(self) -> bool:
        """Whether all that was reported stands in the database now."""
        self._renew()
        with self._news:
            return not self._epochs

    def write_with_retry(self, write: Callable[[Session], Written]) -> Written:
        """In a transaction of its own, again and again while the database is out of reach and the lease lasts.

        Raises LeaseLost when it does not any more, and whatever `write` raises.
        """
        while True:
            try:
                with self._sessions.begin() as session:
                    return write(session)
            except DATABASE_ERRORS as error:
                if time.monotonic() > self._held_until:
                    raise LeaseLost(f"job {self._job_id}: the database was out of reach for too long") from error
                logger.warning("the database is out of reach, to be tried again: %s", error)
                time.sleep(self._progress_seconds)

    def _renew_regularly(self) -> None:
        while not self._stopped.wait(self._progress_seconds) and self._ended_by is None:
            if self._progress is not None or self._epochs or self._lines or time.monotonic() >= self._next_look:
                self._renew()

    def _renew(self) -> None:
        with self._writing:
            with self._news:
                progress, self._progress = self._progress, None
                epochs, self._epochs = self._epochs, []
                lines, self._lines = self._lines, []
            try:
                with self._sessions.begin() as session:
                    status = lifecycle.renew(
                        session, self._job_id, self._attempt, self._lease_seconds, progress, epochs, lines
                    )
            except LeaseLost as lost:
                self._ended_by = lost
            except DATABASE_ERRORS as error:
                logger.warning("lease not renewed, the database is out of reach: %s", error)
                self._restore_unwritten(progress, epochs, lines)
            else:
                self._held_until = time.monotonic() + self._lease_seconds
                self._stop_asked = status == JobStatus.STOPPING
                if status == JobStatus.CANCELLING:
                    self._ended_by = JobCancelled()
            self._next_look = time.monotonic() + min(POLL_SECONDS, self._lease_seconds / 4)

    def _restore_unwritten(
        self, progress: dict[str, Any] | None, epochs: list[EpochReport], lines: list[LogLine]
    ) -> None:
        with self._news:
            self._progress = self._progress or progress
            self._epochs = epochs + self._epochs
            self._lines = lines + self._lines
        if time.monotonic() > self._held_until:
            self._ended_by = LeaseLost(f"job {self._job_id}: the database was out of reach for the length of a lease")
