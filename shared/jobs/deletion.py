"""Delete an ended job with all that belongs to it."""

from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.jobs import ENDED, BatchFile, BatchPart, Job, JobEpoch, JobEvent, JobStatus, JobTag
from shared.database.tables.registry import Version, VersionFile
from shared.errors import JobInUse
from shared.jobs import queries

OWN_TABLES = (JobTag, JobEpoch, JobEvent, BatchFile, BatchPart)
"""The tables whose rows belong to one job, and are deleted with it."""


def delete_job(session: Session, job_id: UUID) -> set[str]:
    """Delete a job with its events, metrics, input files, results and candidate. Returns the digests of its files.

    A retry of the job stays, and no longer refers to it. Raises JobNotFound, or JobInUse if the job has not ended or
    has published a version.
    """
    job = queries.lock_job(session, job_id)
    if job.status not in ENDED:
        remedy = "Wait" if job.status == JobStatus.CANCELLING else "Cancel it first, and wait"
        raise JobInUse(f"Job {job_id} is {job.status}. {remedy} until it has ended.")
    found = select(Version).where(Version.job_id == job_id).with_for_update()
    fresh = {**OF_ALL, "populate_existing": True}  # it may have been published since the job was loaded
    version = session.scalars(found, execution_options=fresh).one_or_none()
    if version is not None and version.number is not None:
        raise JobInUse(
            f"Job {job_id} is the origin of version {version.number} of {version.model!r}. Delete the version first."
        )
    digests = {job.checkpoint_file, job.inline_file, job.weights_file}
    if version is not None:
        digests.update(file.sha256 for file in version.files)
        session.execute(delete(VersionFile).where(VersionFile.version_id == version.id))
        session.execute(delete(Version).where(Version.id == version.id))
    for table in (BatchFile, BatchPart):
        digests.update(session.scalars(select(table.sha256).where(table.job_id == job_id)))
    session.execute(update(Job).where(Job.retry_of == job_id).values(retry_of=None))
    for own in OWN_TABLES:
        session.execute(delete(own).where(own.job_id == job_id))
    session.execute(delete(Job).where(Job.id == job_id))
    return {digest for digest in digests if digest is not None}
