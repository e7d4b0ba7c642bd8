"""Move old audit events out of the database, into files of the artifact store."""

import logging
import tempfile
from pathlib import Path

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from shared.access.audit import write_line
from shared.database.engine import Sessions
from shared.database.tables.access import AuditArchive, AuditEvent
from shared.database.tables.base import now
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile

logger = logging.getLogger(__name__)

DAY_SECONDS = 24 * 3600.0
KEPT_DAYS = 400
"""Younger events stay in the database, whose triggers refuse to delete them."""
EXTRA_DAYS = 30
"""Nothing is archived until the oldest event is so much older: there is about one file a month."""
MAX_EVENTS = 10_000
"""The most events of one file. A run makes one file, and the next run the next."""


def archive_events(sessions: Sessions, artifacts: ArtifactStore) -> int:
    """Write events that are older than KEPT_DAYS to a file, and delete them. Returns their number.

    The transaction that deletes them also names the file. Can run at any time, also in several processes at once.
    Raises OSError.
    """
    oldest = select(AuditEvent.id).order_by(AuditEvent.at).limit(1)
    with sessions() as session:
        if session.scalars(oldest.where(AuditEvent.at < now(-(KEPT_DAYS + EXTRA_DAYS) * DAY_SECONDS))).first() is None:
            return 0
        old = select(AuditEvent).where(AuditEvent.at < now(-KEPT_DAYS * DAY_SECONDS))
        events = list(session.scalars(old.order_by(AuditEvent.id).limit(MAX_EVENTS)))
    ids, times = [event.id for event in events], [event.at for event in events]

    def replace_events(files: list[StoredFile]) -> None:
        (file,) = files
        with sessions.begin() as session:
            tracked_files.reference(session, [file.sha256])
            row = {"first_id": ids[0], "last_id": ids[-1], "first_at": min(times), "last_at": max(times)}
            session.execute(
                insert(AuditArchive).values(**row, events=len(events), sha256=file.sha256, size=file.size_bytes)
            )
            session.execute(delete(AuditEvent).where(AuditEvent.id.in_(ids)))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        path.write_text("".join(write_line(event) for event in events))
        try:
            tracked_files.store_and_reference(sessions, artifacts, [path], replace_events)
        except IntegrityError:  # another process has archived them in the meantime
            return 0
    logger.info("%d audit events moved to a file", len(events))
    return len(events)
