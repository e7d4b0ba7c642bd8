"""Which files the artifact store is to keep. A file is announced before it is written and forgotten before it is
removed, and one that a version, a data set or a job names cannot be forgotten.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.datasets import RevisionFile
from shared.database.tables.files import KeptFile
from shared.database.tables.jobs import BatchFile, BatchPart, Job
from shared.database.tables.registry import VersionFile
from shared.storage.artifacts import ArtifactStore, StoredFile, digest_of

_UNNAMED = and_(
    *(
        ~select(column).where(column == KeptFile.sha256).exists()
        for column in (VersionFile.sha256, RevisionFile.sha256, Job.checkpoint_file, BatchFile.sha256, BatchPart.sha256)
    )
)


class FilesSwept(Exception):
    """Files were removed between their writing and their naming: they must be written once more."""


def keep(sessions: Sessions, artifacts: ArtifactStore, paths: Sequence[Path]) -> list[StoredFile]:
    """Writes files that nothing names yet: unless something does within a while, they are swept. Raises OSError."""
    with sessions.begin() as session:
        announce(session, [digest_of(path) for path in paths])
    return [artifacts.put(path) for path in paths]


def announce(session: Session, digests: Iterable[str]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for digest in sorted(set(digests)):  # in one order, or two attempts could wait for each other
        row = insert(KeptFile).values(sha256=digest, touched_at=now())
        session.execute(row.on_conflict_do_update(index_elements=["sha256"], set_={"touched_at": now()}))


def hold(session: Session, digests: Iterable[str]) -> None:
    """To be called in the transaction that names them. Raises FilesSwept."""
    for digest in sorted(set(digests)):
        touch = update(KeptFile).where(KeptFile.sha256 == digest).values(touched_at=now())
        if session.execute(touch.returning(KeptFile.sha256)).one_or_none() is None:
            raise FilesSwept(digest)


def drop(sessions: Sessions, artifacts: ArtifactStore, digest: str) -> None:
    """Removes a file at once, unless something names it."""
    _remove(sessions, artifacts, KeptFile.sha256 == digest)


def sweep(sessions: Sessions, artifacts: ArtifactStore, older_than_seconds: float, most: int = 500) -> int:
    """Removes what nothing has named for so long, and answers how many files that were, `most` of them at a time."""
    old = KeptFile.touched_at < now(-older_than_seconds)
    with sessions() as session:
        digests = list(session.scalars(select(KeptFile.sha256).where(old, _UNNAMED).limit(most)))
    removed = sum(_remove(sessions, artifacts, and_(KeptFile.sha256 == digest, old)) for digest in digests)
    artifacts.remove_unfinished(older_than_seconds)
    return removed


def _remove(sessions: Sessions, artifacts: ArtifactStore, chosen: ColumnElement[bool]) -> bool:
    """The file goes while its row is locked: whoever announces the same content waits, and writes it afterwards."""
    try:
        with sessions.begin() as session:
            digest = session.scalars(delete(KeptFile).where(chosen, _UNNAMED).returning(KeptFile.sha256)).one_or_none()
            if digest is not None:
                artifacts.remove(digest)
    except IntegrityError:  # it was named in this moment, and the database would not let it go
        return False
    return digest is not None
