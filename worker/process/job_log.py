"""What the training process logs while it has a job, for the job's owner to read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.jobs.events import LogLine
from worker.lease import Lease

MAX_LINE_CHARACTERS = 1000
HIDDEN_LOGGERS = ("worker.lease", "sqlalchemy", "celery", "kombu")


@contextmanager
def log_to_job(lease: Lease) -> Iterator[None]:
    handler = _JobLog(lease)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _JobLog(logging.Handler):
    def __init__(self, lease: Lease) -> None:
        super().__init__(logging.INFO)
        self._lease = lease

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(HIDDEN_LOGGERS):
            self._lease.add_log_line(
                LogLine(record.levelname, record.getMessage().replace("\0", "")[:MAX_LINE_CHARACTERS])
            )
