"""Removes what has had its time: what jobs of long ago read and wrote, and files that nothing names."""

import logging
from dataclasses import dataclass

from shared.database.engine import Sessions
from shared.jobs import batch_predictions, checkpoints, events, workers
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore

logger = logging.getLogger(__name__)

MAX_JOBS_PER_RUN = 500
MAX_FILES_PER_RUN = 500
"""The rest is for the next time: whoever does this has lost jobs to look for as well."""
DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Retention:
    """How long what is kept, counted from the end of the job; `sweep_seconds` from the writing of the file."""

    checkpoint_days: float
    event_days: float
    prediction_days: float
    sweep_seconds: float


def clean_up(sessions: Sessions, artifacts: ArtifactStore, retention: Retention) -> None:
    """Harmless however often it runs, and in however many places at once."""
    with sessions.begin() as session:
        forgotten = checkpoints.discard_expired_checkpoints(session, retention.checkpoint_days * DAY_SECONDS)
        batch_predictions.delete_expired_files(session, retention.checkpoint_days * DAY_SECONDS)
        batch_predictions.delete_expired_parts(session, retention.prediction_days * DAY_SECONDS)
        workers.delete_expired(session)
    with sessions.begin() as session:
        trimmed = events.trim_events(session, retention.event_days * DAY_SECONDS, MAX_JOBS_PER_RUN)
    swept = tracked_files.collect_garbage(sessions, artifacts, retention.sweep_seconds, MAX_FILES_PER_RUN)
    if forgotten or trimmed or swept:
        logger.info("%d checkpoints, the events of %d jobs and %d files had had their time", forgotten, trimmed, swept)
