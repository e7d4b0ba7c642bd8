"""Delete an ended job with all that belongs to it."""

from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.jobs import ENDED, BatchFile, BatchPart, Job, JobEpoch, JobEvent, JobStatus, JobTag
from shared.database.tables.registry import Version
from shared.errors import JobInUse
from shared.jobs import queries

OWN_TABLES = (JobTag, JobEpoch, JobEvent, BatchFile, BatchPart)
"""The tables whose rows belong to one job, and are deleted with it."""


def delete_job(session: Session, job_id: UUID) -> set[str]:
    """Delete a job with its events, metrics, input files and results. Returns the digests of its files.

    A retry of the job stays, and no longer refers to it. Raises JobNotFound, or JobInUse if the job has not ended or
    has published a version.
    """
    job = queries.lock_job(session, job_id)
    if job.status not in ENDED:
        remedy = "Wait" if job.status == JobStatus.CANCELLING else "Cancel it first, and wait"
        raise JobInUse(f"Job {job_id} is {job.status}. {remedy} until it has ended.")
    published = select(Version.model, Version.number).where(Version.job_id == job_id)
    version = session.execute(published, execution_options=OF_ALL).one_or_none()
    if version is not None:
        name = f"version {version.number}" if version.number is not None else "a candidate"
        raise JobInUse(
            f"Job {job_id} is the origin of {name} of {version.model!r}. Delete the version first: DELETE "
            f"/api/v1/models/{version.model}/versions/{version.number or job_id}."
        )
    digests = {job.checkpoint_file, job.inline_file, job.weights_file}
    for table in (BatchFile, BatchPart):
        digests.update(session.scalars(select(table.sha256).where(table.job_id == job_id)))
    session.execute(update(Job).where(Job.retry_of == job_id).values(retry_of=None))
    for own in OWN_TABLES:
        session.execute(delete(own).where(own.job_id == job_id))
    session.execute(delete(Job).where(Job.id == job_id))
    return {digest for digest in digests if digest is not None}
