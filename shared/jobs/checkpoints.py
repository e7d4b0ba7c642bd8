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
    """The job now goes on from this file, in which so many whole epochs are. Answers the file before it.

    An attempt that came further than the one before shows that the job is not to blame for what was lost so far.
    Raises LeaseLost, or tracked_files.FilesCollected.
    """
    tracked_files.reference(session, [digest])
    job = lock_attempt(session, job_id, attempt)
    before = job.checkpoint_file
    job.checkpoint_file, job.checkpoint_epoch, job.consecutive_lost_attempts = digest, epoch, 0
    return before if before != digest else None


def discard_checkpoint(session: Session, job_id: UUID, attempt: int) -> None:
    """It cannot be read: this attempt begins anew, and so do the job's curves. Raises LeaseLost."""
    held = and_(match_attempt(job_id, attempt), Job.status.in_(HELD))
    forgotten = update(Job).where(held).values(checkpoint_file=None, checkpoint_epoch=0).returning(Job.id)
    if session.execute(forgotten).one_or_none() is None:
        raise LeaseLost(f"job {job_id}, attempt {attempt}")
    session.execute(delete(JobEpoch).where(JobEpoch.job_id == job_id))


def discard_expired_checkpoints(session: Session, seconds: float) -> int:
    """Those of jobs that ended so long ago; answers how many there were."""
    old = and_(Job.checkpoint_file.is_not(None), Job.status.in_(ENDED), Job.ended_at < now(-seconds))
    forgotten = update(Job).where(old).values(checkpoint_file=None, checkpoint_epoch=0).returning(Job.id)
    return len(session.scalars(forgotten).all())
