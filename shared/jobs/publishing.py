"""Publish a version, or a further file of one, together with the success of the job."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables.base import Document
from shared.database.tables.registry import Version, VersionFile
from shared.errors import VersionNotFound
from shared.jobs import lifecycle
from shared.registry.versions import reserve_model, take_next_number
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile


def publish(
    session: Session, job_id: UUID, attempt: int, model: str, manifest: Document, files: Iterable[StoredFile]
) -> int:
    """Create the next version of the model and end the job as succeeded, in one transaction. Returns the number.

    Raises lifecycle.LeaseLost, or tracked_files.FilesCollected.
    """
    rows = _reference(session, files)
    number = take_next_number(session, model)
    lifecycle.succeed(session, job_id, attempt, number)
    session.add(Version(model=model, number=number, job_id=job_id, manifest=manifest, files=rows))
    return number


def store_candidate(
    session: Session, job_id: UUID, attempt: int, model: str, manifest: Document, files: Iterable[StoredFile]
) -> None:
    """Create a version without a number, which nothing serves, and end the job as succeeded, in one transaction.

    Raises what `publish` raises.
    """
    rows = _reference(session, files)
    reserve_model(session, model)
    lifecycle.succeed(session, job_id, attempt, None)
    session.add(Version(model=model, number=None, job_id=job_id, manifest=manifest, files=rows))


def _reference(session: Session, files: Iterable[StoredFile]) -> list[VersionFile]:
    rows = [VersionFile(name=file.name, sha256=file.sha256, size_bytes=file.size_bytes) for file in files]
    tracked_files.reference(session, [row.sha256 for row in rows])
    return rows


def add_file(
    session: Session, job_id: UUID, attempt: int, version_id: int, file: StoredFile, result: Document | None = None
) -> None:
    """Add a file to a version, or replace the one of an earlier job, and end the job as succeeded.

    `result` is what an export has measured; None for other jobs.

    Raises VersionNotFound if the version was deleted meanwhile, lifecycle.LeaseLost, or tracked_files.FilesCollected.
    """
    tracked_files.reference(session, [file.sha256])
    locked = select(Version.id).where(Version.id == version_id).with_for_update()
    if session.scalars(locked).one_or_none() is None:
        raise VersionNotFound("The version was deleted while the job ran.")
    lifecycle.finish_version_job(session, job_id, attempt, result)
    session.merge(VersionFile(version_id=version_id, name=file.name, sha256=file.sha256, size_bytes=file.size_bytes))
