"""Record which checkpoint a job resumes from."""

from uuid import UUID

from sqlalchemy import (
    and_,
    delete,
    update,
)
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.jobs import ENDED, HELD, Job, JobEpoch
from shared.jobs.lifecycle import LeaseLost, lock_attempt, match_attempt
from shared.storage import tracked_files


def save_checkpoint(session: Session, job_id: UUID, attempt: int, digest: str, epoch: int) -> str | None:
    """Make a stored checkpoint the one that the job resumes from.

    Progress shows that the job itself did not cause the lost attempts, so their count starts again from 0.

    Args:
        digest: sha256 of the checkpoint file.
        epoch: number of complete epochs in the checkpoint.

    Returns:
        The digest of the replaced file, which the caller can delete; None if there is none, or if it is the same file.

    Raises LeaseLost, or tracked_files.FilesCollected.
    """
    tracked_files.reference(session, [digest])
    job = lock_attempt(session, job_id, attempt)
    before = job.checkpoint_file
    job.checkpoint_file, job.checkpoint_epoch, job.consecutive_lost_attempts = digest, epoch, 0
    return before if before != digest else None


def discard_checkpoint(session: Session, job_id: UUID, attempt: int) -> None:
    """Remove an unreadable checkpoint from the job, with all reported epochs: the attempt starts from the beginning.

    Raises LeaseLost.
    """
    held = and_(match_attempt(job_id, attempt), Job.status.in_(HELD))
    cleared = update(Job).where(held).values(checkpoint_file=None, checkpoint_epoch=0).returning(Job.id)
    if session.execute(cleared).one_or_none() is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    session.execute(delete(JobEpoch).where(JobEpoch.job_id == job_id))


def discard_expired_checkpoints(session: Session, seconds: float) -> int:
    """Remove the checkpoints of jobs that ended more than `seconds` ago. Returns the number of these jobs.

    Garbage collection deletes the files.
    """
    old = and_(Job.checkpoint_file.is_not(None), Job.status.in_(ENDED), Job.ended_at < now(-seconds))
    cleared = update(Job).where(old).values(checkpoint_file=None, checkpoint_epoch=0).returning(Job.id)
    return len(session.scalars(cleared).all())
