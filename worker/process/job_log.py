"""What the training process logs while it has a job, for the job's owner to read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.jobs.events import LogLine
from worker.lease import Lease

MOST_CHARACTERS = 1000
NOT_FOR_OWNERS = ("worker.lease", "sqlalchemy", "celery", "kombu")


@contextmanager
def logged(lease: Lease) -> Iterator[None]:
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
        if not record.name.startswith(NOT_FOR_OWNERS):
            self._lease.line(LogLine(record.levelname, record.getMessage().replace("\0", "")[:MOST_CHARACTERS]))
