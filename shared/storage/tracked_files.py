"""Track the files of the artifact store in the database, and delete files that nothing references.

A file is registered before it is written. The transaction that deletes the registration also deletes the file. Foreign
keys prevent the deletion while a version, a data set, a job or an archive of audit events references the file.
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
from shared.database.tables.access import AuditArchive
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
        for column in (
            VersionFile.sha256,
            RevisionFile.sha256,
            Job.checkpoint_file,
            Job.inline_file,
            Job.weights_file,
            BatchFile.sha256,
            BatchPart.sha256,
            AuditArchive.sha256,
        )
    )
)


class FilesCollected(Exception):
    """A file was deleted after it was stored and before it was referenced. The caller has to store it again."""


def store(sessions: Sessions, artifacts: ArtifactStore, paths: Sequence[Path]) -> list[StoredFile]:
    """Register files and write them to the artifact store.

    Garbage collection deletes them later if nothing references them. Raises OSError.
    """
    if not paths:
        return []
    with sessions.begin() as session:
        track(session, [compute_digest(path) for path in paths])
    return [artifacts.put(path) for path in paths]


def store_and_reference(
    sessions: Sessions,
    artifacts: ArtifactStore,
    paths: Sequence[Path],
    reference: Callable[[list[StoredFile]], Result],
) -> Result:
    """Store files, then call `reference`, which references them in a transaction. Return its result.

    If `reference` raises FilesCollected, store the files again and repeat the call. Raises OSError, and all other
    errors of `reference`.
    """
    while True:
        files = store(sessions, artifacts, paths)
        try:
            return reference(files)
        except FilesCollected as collected:
            logger.warning("file %s was collected before it was referenced, and is stored again", collected)


def track(session: Session, digests: Iterable[str]) -> None:
    """Register files before they are written, or refresh `touched_at` if they are already registered."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for digest in sorted(set(digests)):  # the same order everywhere prevents deadlocks
        row = insert(TrackedFile).values(sha256=digest, touched_at=now())
        session.execute(row.on_conflict_do_update(index_elements=["sha256"], set_={"touched_at": now()}))


def reference(session: Session, digests: Iterable[str]) -> None:
    """Refresh `touched_at` of files in the transaction that references them.

    Raises FilesCollected if a file is no longer registered.
    """
    for digest in sorted(set(digests)):
        touch = update(TrackedFile).where(TrackedFile.sha256 == digest).values(touched_at=now())
        if session.execute(touch.returning(TrackedFile.sha256)).one_or_none() is None:
            raise FilesCollected(digest)


def delete_unreferenced(sessions: Sessions, artifacts: ArtifactStore, digest: str) -> None:
    """Delete a file at once, unless something references it."""
    _delete(sessions, artifacts, TrackedFile.sha256 == digest)


def collect_garbage(sessions: Sessions, artifacts: ArtifactStore, older_than_seconds: float, limit: int = 500) -> int:
    """Delete files that nothing references and whose time is older than `older_than_seconds`.

    Returns the number of deleted files, at most `limit`. Also deletes partial files of this age.
    """
    expired = TrackedFile.touched_at < now(-older_than_seconds)
    with sessions() as session:
        digests = list(session.scalars(select(TrackedFile.sha256).where(expired, _UNREFERENCED).limit(limit)))
    removed = sum(_delete(sessions, artifacts, and_(TrackedFile.sha256 == digest, expired)) for digest in digests)
    artifacts.delete_unfinished(older_than_seconds)
    return removed


def _delete(sessions: Sessions, artifacts: ArtifactStore, condition: ColumnElement[bool]) -> bool:
    """Delete the chosen row, at most one, and its file if nothing references it. Return whether they were deleted.

    The row is locked until the file is deleted. A process that registers the same content waits for the lock, and
    writes the file afterwards.
    """
    try:
        with sessions.begin() as session:
            digest = session.scalars(
                delete(TrackedFile).where(condition, _UNREFERENCED).returning(TrackedFile.sha256)
            ).one_or_none()
            if digest is not None:
                artifacts.delete(digest)
    except IntegrityError:  # another transaction has just referenced the file
        return False
    return digest is not None
