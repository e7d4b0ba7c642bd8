"""Renew the lease of a job in a thread, write the reports of the attempt, and read whether it has to end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.jobs import JobStatus
from shared.errors import TrainingFailure
from shared.jobs import lifecycle
from shared.jobs.events import EpochReport, LogLine
from shared.jobs.lifecycle import LeaseLost
from shared.jobs.outcomes import Cancelled, Failed, Outcome

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_LOG_LINES = 1000
"""Further lines of one attempt are not added to the log of the job."""

ABANDON_SECONDS = 5.0
"""Time for the attempt to end after it must. A single training step can take minutes, and nothing else can stop it."""
POLL_SECONDS = 2.0
"""Time between two renewals without reports, and so the delay until a cancellation is noticed."""


class JobCancelled(Exception):
    """The owner has cancelled the job, so the attempt ends without success."""


class WorkerShutdown(Exception):
    """The worker shuts down, so the attempt ends and another worker continues the job."""


class Lease:
    """The lease of an attempt on its job. As a context manager, it runs the thread that renews the lease.

    The thread calls `abandon` if the attempt goes on for ABANDON_SECONDS after its cancellation, its time limit or the
    loss of its lease. The argument is the outcome, None for a lost lease.

    `check`, `report_progress`, `report_epoch` and `add_log_line` never wait for the database. While the database is
    unreachable, the attempt continues until its lease has expired: from then on another worker can claim the job.
    """

    def __init__(
        self,
        sessions: Sessions,
        job_id: UUID,
        attempt: int,
        lease_seconds: float,
        progress_seconds: float,
        is_shutting_down: Callable[[], bool],
        abandon: Callable[[Outcome | None], None],
    ) -> None:
        self._abandon = abandon
        self._time_limit: tuple[float, TrainingFailure] | None = None
        self._sessions = sessions
        self._job_id = job_id
        self._attempt = attempt
        self._lease_seconds = lease_seconds
        self._progress_seconds = progress_seconds
        self.is_shutting_down = is_shutting_down
        self._stop_asked = False
        self._held_until = time.monotonic() + lease_seconds
        self._next_poll = time.monotonic() + POLL_SECONDS
        self._ended_by: LeaseLost | JobCancelled | None = None
        self._ended_at = 0.0
        self._progress: dict[str, Any] | None = None
        self._epochs: list[EpochReport] = []
        self._lines: list[LogLine] = []
        self._lines_left = MAX_LOG_LINES
        self._reports_lock = threading.Lock()  # guards the reports that are not written yet
        self._renewal_lock = threading.Lock()  # one renewal at a time: `flush` waits for a renewal of the thread
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew_regularly, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._ended_by is None and (self._progress or self._epochs or self._lines):
            self._renew()  # the last reports of an attempt that failed

    def check(self) -> None:
        """Check that the attempt can continue. Raises LeaseLost or JobCancelled if it has to end."""
        if self._ended_by is not None:
            raise self._ended_by

    def is_stopping(self) -> bool:
        """Return whether the job has to end early and keep its result, as of the last renewal."""
        return self._stop_asked

    @contextmanager
    def limit_time(self, deadline: float, failure: TrainingFailure) -> Iterator[None]:
        """Abandon the attempt with `failure` if the `with` block takes longer than `deadline` allows.

        `deadline` is in seconds of the monotonic clock.
        """
        self._time_limit = deadline, failure
        try:
            yield
        finally:
            self._time_limit = None

    def shut_down(self) -> None:
        """End the attempt because the worker shuts down: always raises WorkerShutdown."""
        raise WorkerShutdown

    def report_progress(self, progress: dict[str, Any]) -> None:
        """Set the progress that the next renewal writes. It replaces a progress that is not written yet."""
        with self._reports_lock:
            self._progress = progress

    def report_epoch(self, report: EpochReport) -> None:
        """Add an epoch that the next renewal writes."""
        with self._reports_lock:
            self._epochs.append(report)

    def add_log_line(self, line: LogLine) -> None:
        """Add a line to the log of the job. Does nothing after MAX_LOG_LINES lines."""
        with self._reports_lock:
            if self._lines_left:
                self._lines_left -= 1
                self._lines.append(line)

    def flush(self) -> None:
        """Renew the lease at once, with all reports, then `check`. Raises LeaseLost or JobCancelled."""
        self._renew()
        self.check()

    def flush_epochs(self) -> bool:
        """Renew the lease at once. Return whether all reported epochs are in the database."""
        self._renew()
        with self._reports_lock:
            return not self._epochs

    def write_with_retry(self, write: Callable[[Session], Result]) -> Result:
        """Call `write` in a transaction, and repeat it while the database is unreachable. Return its result.

        Raises LeaseLost if the lease expires in the meantime, and the errors of `write`.
        """
        while True:
            try:
                with self._sessions.begin() as session:
                    return write(session)
            except DATABASE_ERRORS as error:
                if time.monotonic() > self._held_until:
                    raise LeaseLost(
                        f"job {self._job_id}: the database was unreachable until the lease expired"
                    ) from error
                logger.warning("database unreachable, write to be repeated: %s", error)
                time.sleep(self._progress_seconds)

    def _renew_regularly(self) -> None:
        while not self._stopped.wait(self._progress_seconds):
            self._abandon_if_overdue()
            if self._ended_by is None and (
                self._progress is not None or self._epochs or self._lines or time.monotonic() >= self._next_poll
            ):
                self._renew()

    def _abandon_if_overdue(self) -> None:
        ended_by, limit, overdue = self._ended_by, self._time_limit, time.monotonic() - ABANDON_SECONDS
        if ended_by is not None and self._ended_at < overdue:
            self._abandon(Cancelled() if isinstance(ended_by, JobCancelled) else None)
        elif ended_by is None and limit is not None and limit[0] < overdue:
            self._abandon(Failed(limit[1]))

    def _end(self, reason: "LeaseLost | JobCancelled") -> None:
        self._ended_at = time.monotonic()
        self._ended_by = reason

    def _renew(self) -> None:
        with self._renewal_lock:
            with self._reports_lock:
                progress, self._progress = self._progress, None
                epochs, self._epochs = self._epochs, []
                lines, self._lines = self._lines, []
            try:
                with self._sessions.begin() as session:
                    status = lifecycle.renew(
                        session, self._job_id, self._attempt, self._lease_seconds, progress, epochs, lines
                    )
            except LeaseLost as lost:
                self._end(lost)
            except DATABASE_ERRORS as error:
                logger.warning("lease not renewed, database unreachable: %s", error)
                self._restore_unwritten(progress, epochs, lines)
            else:
                self._held_until = time.monotonic() + self._lease_seconds
                self._stop_asked = status == JobStatus.STOPPING
                if status == JobStatus.CANCELLING:
                    self._end(JobCancelled())
            self._next_poll = time.monotonic() + min(POLL_SECONDS, self._lease_seconds / 4)

    def _restore_unwritten(
        self, progress: dict[str, Any] | None, epochs: list[EpochReport], lines: list[LogLine]
    ) -> None:
        """Keep unwritten reports for the next renewal, in their order. End the attempt if its lease has expired."""
        with self._reports_lock:
            self._progress = self._progress or progress
            self._epochs = epochs + self._epochs
            self._lines = lines + self._lines
        if time.monotonic() > self._held_until:
            self._end(LeaseLost(f"job {self._job_id}: the database was unreachable until the lease expired"))
