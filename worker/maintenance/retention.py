"""Delete the data of old jobs after its retention period, and files that nothing references."""

import logging
from dataclasses import dataclass

from shared.database.engine import Sessions
from shared.jobs import batch_predictions, checkpoints, events, usage, workers
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore

logger = logging.getLogger(__name__)

MAX_JOBS_PER_RUN = 500
MAX_FILES_PER_RUN = 500
"""The next run deletes the rest. The same process rescues jobs, and must not be busy here for long."""
DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Retention:
    """Retention periods, from the end of the job.

    Attributes:
        checkpoint_days: for checkpoints, and for the input files of batch predictions.
        event_days: for progress and log lines.
        prediction_days: for the results of batch predictions.
        sweep_seconds: for files that nothing references, from the time they were written or last referenced.
    """

    checkpoint_days: float
    event_days: float
    prediction_days: float
    sweep_seconds: float


def clean_up(sessions: Sessions, artifacts: ArtifactStore, retention: Retention) -> None:
    """Delete expired data and unreferenced files. Can run at any time, also in several processes at once."""
    with sessions.begin() as session:
        forgotten = checkpoints.discard_expired_checkpoints(session, retention.checkpoint_days * DAY_SECONDS)
        batch_predictions.delete_expired_files(session, retention.checkpoint_days * DAY_SECONDS)
        batch_predictions.delete_expired_parts(session, retention.prediction_days * DAY_SECONDS)
        workers.delete_expired(session)
        usage.delete_expired(session)
    with sessions.begin() as session:
        trimmed = events.trim_events(session, retention.event_days * DAY_SECONDS, MAX_JOBS_PER_RUN)
    collected = tracked_files.collect_garbage(sessions, artifacts, retention.sweep_seconds, MAX_FILES_PER_RUN)
    if forgotten or trimmed or collected:
        logger.info(
            "%d expired checkpoints, the events of %d jobs and %d unreferenced files deleted",
            forgotten,
            trimmed,
            collected,
        )
