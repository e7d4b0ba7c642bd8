"""Create the jobs that import a version, or add a file to one: exports, baselines and evaluations."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables.jobs import ANONYMOUS, Job, JobStatus
from shared.jobs import creation
from shared.jobs.creation import VersionJobSpec
from shared.spec.evaluation import EvaluationSpec
from shared.spec.export import ExportSpec
from shared.spec.model_import import ImportSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile


def create_import(
    session: Session, spec: ImportSpec, arrays: StoredFile, owner: str = ANONYMOUS, max_queued: int | None = None
) -> Job:
    """Create a job that imports a model. `arrays` is the file with its weights.

    Raises TooManyJobs, or tracked_files.FilesCollected.
    """
    job = creation.make_job(session, spec, owner)
    tracked_files.reference(session, [arrays.sha256])
    job.weights_file = arrays.sha256
    creation.add(session, [job], max_queued)
    return job


def create_version_job(
    session: Session, spec: VersionJobSpec, owner: str = ANONYMOUS, max_queued: int | None = None
) -> tuple[Job, bool]:
    """Create a job that adds a file to a version. If an equal one has not ended or has succeeded, no job is created.

    Returns the job, and whether it is a new one. Raises TooManyJobs.
    """
    job = creation.make_job(session, spec, owner)
    is_same = [
        Job.kind == job.kind,
        Job.model == spec.model,
        Job.spec["version"].as_integer() == spec.version,
        Job.status.not_in((JobStatus.FAILED, JobStatus.CANCELLED)),
    ]
    if isinstance(spec, ExportSpec):
        is_same.append(Job.spec["format"].as_string() == spec.format.value)
    elif isinstance(spec, EvaluationSpec):
        named = Job.spec["dataset"].as_string()
        is_same.append(named.is_(None) if spec.dataset is None else named == spec.dataset)
        is_same.append(Job.spec["part"].as_string() == spec.part)
    earlier = session.scalars(select(Job).where(*is_same).order_by(Job.created_at.desc()).limit(1)).one_or_none()
    if earlier is not None:
        return earlier, False
    creation.add(session, [job], max_queued)
    return job, True
