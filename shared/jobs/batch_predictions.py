"""Predictions for many inputs, by a job: what it was given, and what it answered so far, part by part."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import ENDED, BatchFile, BatchPart, Job
from shared.errors import JobCannotBeRetried
from shared.jobs import lifecycle
from shared.spec.fields import SpecPart
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile


class BatchState(SpecPart):
    """How far it is: `done` of `rows`, of which so many `failed`. `columns` are those of its CSV that hold answers."""

    version: int
    rows: int
    done: int = 0
    failed: int = 0
    columns: tuple[str, ...]


def list_files(session: Session, job_id: UUID) -> list[StoredFile]:
    found = session.scalars(select(BatchFile).where(BatchFile.job_id == job_id))
    return [StoredFile(file.name, file.sha256, file.size_bytes) for file in found]


def list_parts(session: Session, job_id: UUID) -> list[BatchPart]:
    """In order."""
    return list(session.scalars(select(BatchPart).where(BatchPart.job_id == job_id).order_by(BatchPart.number)))


def add_part(session: Session, job_id: UUID, attempt: int, sha256: str, *, rows: int, failed: int) -> BatchState:
    """Answers how far the job is with it. Raises LeaseLost, or tracked_files.FilesCollected."""
    tracked_files.reference(session, [sha256])
    job = lifecycle.lock_attempt(session, job_id, attempt)
    before = BatchState.model_validate(job.batch)
    number = session.scalars(select(func.count()).where(BatchPart.job_id == job_id)).one() + 1
    session.add(BatchPart(job_id=job_id, number=number, sha256=sha256, rows=rows, failed=failed))
    batch = before.model_copy(update={"done": before.done + rows, "failed": before.failed + failed})
    # Whoever comes further than the attempt before is not to blame for what was lost so far.
    job.batch, job.consecutive_lost_attempts = batch.model_dump(mode="json"), 0
    return batch


def copy_to_retry(session: Session, old: Job, new: Job, *, with_parts: bool) -> None:
    """For a job that is tried again; with what was answered already, or from the start. Raises JobCannotBeRetried."""
    session.flush()
    files = list_files(session, old.id)
    if not files and old.spec["dataset"] is None:
        raise JobCannotBeRetried(f"What job {old.id} was to read has had its time: send it again.")
    for file in files:
        session.add(BatchFile(job_id=new.id, name=file.name, sha256=file.sha256, size_bytes=file.size_bytes))
    batch = BatchState.model_validate(old.batch)
    parts = list_parts(session, old.id)
    if with_parts and not have_expired(batch, parts):
        for part in parts:
            values = {"sha256": part.sha256, "rows": part.rows, "failed": part.failed}
            session.add(BatchPart(job_id=new.id, number=part.number, **values))
    else:
        batch = batch.model_copy(update={"done": 0, "failed": 0})
    new.batch = batch.model_dump(mode="json")


def have_expired(batch: BatchState, parts: Sequence[BatchPart]) -> bool:
    """Whether the answers, of which these parts are there, have had their time."""
    return sum(part.rows for part in parts) < batch.done


def delete_expired_files(session: Session, seconds: float) -> None:
    """What jobs read that ended so long ago."""
    session.execute(delete(BatchFile).where(BatchFile.job_id.in_(_select_ended_before(seconds))))


def delete_expired_parts(session: Session, seconds: float) -> None:
    """What jobs answered that ended so long ago."""
    session.execute(delete(BatchPart).where(BatchPart.job_id.in_(_select_ended_before(seconds))))


def _select_ended_before(seconds: float) -> Select[UUID]:
    return select(Job.id).where(Job.status.in_(ENDED), Job.ended_at < now(-seconds))
