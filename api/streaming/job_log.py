"""Format the events of a job as a log."""

from collections.abc import Iterable, Iterator

from shared.database.tables.base import Document
from shared.database.tables.jobs import JobEvent


def format_log(events: Iterable[JobEvent]) -> Iterator[str]:
    """Yield one line per event: the time in UTC and a text. `events` has no progress events."""
    for event in events:
        yield f"{event.created_at:%Y-%m-%d %H:%M:%S}Z  {_format_text(event.kind, event.content)}\n"


def _format_text(kind: str, content: Document) -> str:
    match kind:
        case "epoch":
            values = ", ".join(f"{name} {_format_number(value)}" for name, value in content["metrics"].items())
            return f"epoch {content['epoch']}: {values}; {content['seconds']:.1f} s"
        case "log":
            return f"{content['level'].lower()}: {content['message']}"
    reason = f": {content['error']['detail']}" if "error" in content else ""
    return f"{content['status']}, attempt {content['attempt']}{reason}"


def _format_number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
