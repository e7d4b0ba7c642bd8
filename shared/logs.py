"""Configure logging, once per process: plain lines on a terminal, JSON otherwise."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039 - it is never mutated


@contextmanager
def add_context(**fields: str) -> Iterator[None]:
    """Add fields such as `request_id` or `job_id` to every line that is logged inside the `with` block."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def get_context(name: str) -> str | None:
    """Return the value of a field of `add_context`; None if the field is not set."""
    return _context.get().get(name)


def configure_logging(level: str) -> None:
    """Log to standard error at this level, such as "INFO". Replaces earlier handlers."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter() if sys.stderr.isatty() else _JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for logger_name in ("celery", "tf2onnx"):  # they log each message and each step at level INFO
        logging.getLogger(logger_name).setLevel(logging.WARNING)


def format_plain(line: dict[str, str]) -> str:
    """Format a line that was logged as JSON as one for a terminal."""
    rest = dict(line)
    time, level, name, message = (rest.pop(key) for key in ("time", "level", "logger", "message"))
    exception = rest.pop("exception", None)
    fields = "".join(f" {name}={value}" for name, value in rest.items())
    return f"{time} {level} {name} {message}{fields}" + (f"\n{exception}" if exception else "")


class _PlainFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _context.get().items())
        return super().format(record) + fields


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
