"""Create batch predictions, and read and write their input files and results. Results are stored in parts."""

import hashlib
import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import ANONYMOUS, ENDED, BatchFile, BatchPart, Job
from shared.errors import JobCannotBeRetried
from shared.jobs import creation, lifecycle
from shared.spec.batch_prediction import BatchSpec
from shared.spec.fields import SpecPart
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile


class BatchState(SpecPart):
    """The progress of a batch prediction.

    Attributes:
        version: number of the version that predicts.
        rows: number of inputs.
        done: number of inputs whose results are stored.
        failed: how many of these have a problem in place of a prediction.
        columns: names of the columns with predictions, in the results as CSV.
    """

    version: int
    rows: int
    done: int = 0
    failed: int = 0
    columns: tuple[str, ...]


def create(
    session: Session,
    spec: BatchSpec,
    state: BatchState,
    files: Sequence[StoredFile],
    key: str | None = None,
    owner: str = ANONYMOUS,
    max_queued: int | None = None,
) -> Job:
    """Create a queued batch prediction.

    Args:
        files: the stored input files; none if the spec names a data set.
        key: idempotency key, as in `create_job`; None without one.

    Raises DatasetNotFound, IdempotencyKeyReused, TooManyJobs, or tracked_files.FilesCollected.
    """
    job = creation.make_job(session, spec, owner)
    content = [spec.model_dump(mode="json"), sorted((file.name, file.sha256) for file in files)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if key is not None and (first := creation.find_by_key(session, job, key, digest)) is not None:
        return first
    job.batch = state.model_dump(mode="json")
    tracked_files.reference(session, [file.sha256 for file in files])
    creation.add(session, [job], max_queued)
    session.add_all(
        BatchFile(job_id=job.id, name=file.name, sha256=file.sha256, size_bytes=file.size_bytes) for file in files
    )
    return job


def list_files(session: Session, job_id: UUID) -> list[StoredFile]:
    """List the input files; none if the job reads a data set, or if they have expired."""
    found = session.scalars(select(BatchFile).where(BatchFile.job_id == job_id))
    return [StoredFile(file.name, file.sha256, file.size_bytes) for file in found]


def list_parts(session: Session, job_id: UUID) -> list[BatchPart]:
    """List the parts of the results, in the order of the inputs."""
    return list(session.scalars(select(BatchPart).where(BatchPart.job_id == job_id).order_by(BatchPart.number)))


def add_part(session: Session, job_id: UUID, attempt: int, sha256: str, *, rows: int, failed: int) -> BatchState:
    """Add a stored file with the next results to the job. Returns the new progress.

    Args:
        sha256: digest of the file.
        rows: number of inputs whose results are in the file.
        failed: how many of these have a problem in place of a prediction.

    Raises LeaseLost, or tracked_files.FilesCollected.
    """
    tracked_files.reference(session, [sha256])
    job = lifecycle.lock_attempt(session, job_id, attempt)
    before = BatchState.model_validate(job.batch)
    number = session.scalars(select(func.count()).where(BatchPart.job_id == job_id)).one() + 1
    session.add(BatchPart(job_id=job_id, number=number, sha256=sha256, rows=rows, failed=failed))
    batch = before.model_copy(update={"done": before.done + rows, "failed": before.failed + failed})
    # An attempt that makes progress shows that the job itself did not cause the lost attempts: reset their count.
    job.batch, job.consecutive_lost_attempts = batch.model_dump(mode="json"), 0
    return batch


def copy_to_retry(session: Session, old: Job, new: Job, *, with_parts: bool) -> None:
    """Copy the input files of a batch prediction to its retry, and with `with_parts` also the results so far.

    The retry starts from the beginning if results have expired. Raises JobCannotBeRetried if the input files have.
    """
    session.flush()  # the rows below reference the row of the new job
    files = list_files(session, old.id)
    if not files and old.spec["dataset"] is None:
        raise JobCannotBeRetried(
            f"The input files of job {old.id} have expired (TRAINYARD_RETAIN_CHECKPOINTS_DAYS). "
            "Submit the batch prediction again."
        )
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
    """Return whether stored results were deleted: `parts`, the remaining ones, contain fewer rows than are done."""
    return sum(part.rows for part in parts) < batch.done


def delete_expired_files(session: Session, seconds: float) -> None:
    """Delete the references to the input files of jobs that ended more than `seconds` ago.

    Garbage collection deletes the files.
    """
    session.execute(delete(BatchFile).where(BatchFile.job_id.in_(_select_ended_before(seconds))))


def delete_expired_parts(session: Session, seconds: float) -> None:
    """Delete the references to the results of jobs that ended more than `seconds` ago.

    Garbage collection deletes the files.
    """
    session.execute(delete(BatchPart).where(BatchPart.job_id.in_(_select_ended_before(seconds))))


def _select_ended_before(seconds: float) -> Select[UUID]:
    return select(Job.id).where(Job.status.in_(ENDED), Job.ended_at < now(-seconds))
