"""Which files the artifact store is to keep. A file is announced before it is written and forgotten before it is
removed, and one that a version, a data set or a job names cannot be forgotten.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.datasets import RevisionFile
from shared.database.tables.files import TrackedFile
from shared.database.tables.jobs import BatchFile, BatchPart, Job
from shared.database.tables.registry import VersionFile
from shared.storage.artifacts import ArtifactStore, StoredFile, compute_digest

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_UNREFERENCED = and_(
    *(
        ~select(column).where(column == TrackedFile.sha256).exists()
        for column in (VersionFile.sha256, RevisionFile.sha256, Job.checkpoint_file, BatchFile.sha256, BatchPart.sha256)
    )
)


class FilesCollected(Exception):
    """Files were removed between their writing and their naming: they must be written once more."""


def store(sessions: Sessions, artifacts: ArtifactStore, paths: Sequence[Path]) -> list[StoredFile]:
    """Writes files that nothing names yet: unless something does within a while, they are swept. Raises OSError."""
    with sessions.begin() as session:
        track(session, [compute_digest(path) for path in paths])
    return [artifacts.put(path) for path in paths]


def store_and_reference(
    sessions: Sessions,
    artifacts: ArtifactStore,
    paths: Sequence[Path],
    reference: Callable[[list[StoredFile]], Result],
) -> Result:
    """Store files and call `reference`, which names them in a transaction.

    Stores them again when they were collected in between: `reference` raises FilesCollected then, and is called again.
    Raises OSError, and whatever else `reference` raises.
    """
    while True:
        files = store(sessions, artifacts, paths)
        try:
            return reference(files)
        except FilesCollected as collected:
            logger.warning("file %s was collected before it was referenced, and is stored again", collected)


def track(session: Session, digests: Iterable[str]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for digest in sorted(set(digests)):  # in one order, or two attempts could wait for each other
        row = insert(TrackedFile).values(sha256=digest, touched_at=now())
        session.execute(row.on_conflict_do_update(index_elements=["sha256"], set_={"touched_at": now()}))


def reference(session: Session, digests: Iterable[str]) -> None:
    """To be called in the transaction that names them. Raises FilesSwept."""
    for digest in sorted(set(digests)):
        touch = update(TrackedFile).where(TrackedFile.sha256 == digest).values(touched_at=now())
        if session.execute(touch.returning(TrackedFile.sha256)).one_or_none() is None:
            raise FilesCollected(digest)


def delete_unreferenced(sessions: Sessions, artifacts: ArtifactStore, digest: str) -> None:
    """Removes a file at once, unless something names it."""
    _delete(sessions, artifacts, TrackedFile.sha256 == digest)


def collect_garbage(sessions: Sessions, artifacts: ArtifactStore, older_than_seconds: float, limit: int = 500) -> int:
    """Removes what nothing has named for so long, and answers how many files that were, `most` of them at a time."""
    old = TrackedFile.touched_at < now(-older_than_seconds)
    with sessions() as session:
        digests = list(session.scalars(select(TrackedFile.sha256).where(old, _UNREFERENCED).limit(limit)))
    removed = sum(_delete(sessions, artifacts, and_(TrackedFile.sha256 == digest, old)) for digest in digests)
    artifacts.delete_unfinished(older_than_seconds)
    return removed


def _delete(sessions: Sessions, artifacts: ArtifactStore, chosen: ColumnElement[bool]) -> bool:
    """The file goes while its row is locked: whoever announces the same content waits, and writes it afterwards."""
    try:
        with sessions.begin() as session:
            digest = session.scalars(
                delete(TrackedFile).where(chosen, _UNREFERENCED).returning(TrackedFile.sha256)
            ).one_or_none()
            if digest is not None:
                artifacts.delete(digest)
    except IntegrityError:  # it was named in this moment, and the database would not let it go
        return False
    return digest is not None
