"""Publish a version together with the success of its job."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.orm import Session

from shared.database.tables.base import Document
from shared.database.tables.registry import Version, VersionFile
from shared.jobs import lifecycle
from shared.registry.versions import take_next_number
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile


def publish(
    session: Session, job_id: UUID, attempt: int, model: str, manifest: Document, files: Iterable[StoredFile]
) -> int:
    """Create the next version of the model and end the job as succeeded, in one transaction. Returns the number.

    Raises lifecycle.LeaseLost, or tracked_files.FilesCollected.
    """
    rows = [VersionFile(name=file.name, sha256=file.sha256, size_bytes=file.size_bytes) for file in files]
    tracked_files.reference(session, [row.sha256 for row in rows])
    number = take_next_number(session, model)
    lifecycle.succeed(session, job_id, attempt, number)
    session.add(Version(model=model, number=number, job_id=job_id, manifest=manifest, files=rows))
    return number
