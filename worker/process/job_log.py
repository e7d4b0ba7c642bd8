"""Copy the log of the training process to the log of the running job, for its owner."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.jobs.events import LogLine
from worker.lease import Lease

MAX_LINE_CHARACTERS = 1000
HIDDEN_LOGGERS = ("worker.lease", "sqlalchemy", "celery", "kombu", "tensorflow")
"""Prefixes of loggers whose records do not concern the owner of a job."""


@contextmanager
def log_to_job(lease: Lease) -> Iterator[None]:
    """Add the log records from level INFO to the log of the job, inside the `with` block."""
    handler = _JobLog(lease)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _JobLog(logging.Handler):
    """Handler that adds records to the log of a job, without NUL characters, which PostgreSQL cannot store."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(logging.INFO)
        self._lease = lease

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(HIDDEN_LOGGERS):
            self._lease.add_log_line(
                LogLine(record.levelname, record.getMessage().replace("\0", "")[:MAX_LINE_CHARACTERS])
            )
