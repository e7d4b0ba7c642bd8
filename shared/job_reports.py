"""What an attempt tells of itself, and as which documents it is kept."""

from dataclasses import dataclass

from shared.database.tables.jobs import Document, JobEpoch
from shared.errors import ServiceError, TrainingFailure


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; epochs count from 1."""

    epoch: int
    seconds: float
    learning_rate: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class LogLine:
    level: str
    message: str


def epoch_content(report: EpochReport | JobEpoch) -> Document:
    return {
        "epoch": report.epoch,
        "seconds": report.seconds,
        "learning_rate": report.learning_rate,
        "metrics": report.metrics,
    }


def problem_of(failure: TrainingFailure | ServiceError) -> Document:
    """RFC 9457, as `GET /jobs/{id}` shows it: the title is the kind, in words."""
    title = failure.kind.replace("-", " ").capitalize()
    return {"type": f"/problems/{failure.kind}", "title": title, "detail": failure.detail}
