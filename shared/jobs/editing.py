"""Change what a user notes about a job, and its priority."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from shared.database.tables.base import Visibility
from shared.database.tables.jobs import Job, JobStatus, JobTag
from shared.errors import JobHasStarted
from shared.jobs.queries import lock_job


def edit_job(
    session: Session,
    job_id: UUID,
    notes: str | None = None,
    tags: Mapping[str, str] | None = None,
    priority: int | None = None,
    visibility: Visibility | None = None,
) -> Job:
    """Replace the notes, all tags, the priority or the visibility of a job. None leaves them as they are.

    Raises JobNotFound, or JobHasStarted for the priority of a job that does not wait.
    """
    job = lock_job(session, job_id)
    if priority is not None and priority != job.priority:
        if job.status != JobStatus.QUEUED:
            raise JobHasStarted(f"Job {job_id} is {job.status}. A priority only matters to a job that is queued.")
        job.priority = priority
    if visibility is not None:
        job.visibility = visibility
    if notes is not None:
        job.notes = notes
    if tags is not None:
        known = {tag.key: tag for tag in job.tags}
        job.tags = [known.get(key) or JobTag(key=key, created_at=job.created_at) for key in tags]
        for tag in job.tags:
            tag.value = tags[tag.key]
    return job
