"""Run a job that computes the baselines of a version."""

from functools import partial
from pathlib import Path

from shared.database.tables.jobs import Job
from shared.errors import DatasetDoesNotFit
from shared.jobs import publishing
from shared.registry import versions
from shared.registry.manifest import MANIFEST_FILE, ManifestFile
from shared.spec.baselines import BaselineSpec
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import Lease
from worker.training.input.spec_data import load_spec_dataset


def run_baselines_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Compute the baselines of a version, and end the job as succeeded in the transaction that adds their file.

    Raises LeaseLost, JobCancelled, WorkerShutdown, TrainingFailure, ServiceError or OSError.
    """
    from worker.training.baselines import write_baselines  # imports Keras: the parent process imports this file

    spec = BaselineSpec.model_validate(job.spec)
    with context.sessions() as session:
        version = versions.get_version(session, spec.model, str(spec.version))
    content = context.artifacts.read(versions.get_file(version, MANIFEST_FILE).sha256)
    manifest = ManifestFile.model_validate_json(content)
    dataset, _ = load_spec_dataset(context, TrainingSpec.model_validate(manifest.lineage.spec))
    paths = write_baselines(context, manifest, dataset, lease.check, folder)
    if not paths:
        raise DatasetDoesNotFit(
            "There are no baselines for rows with several labels. Compare the version with another one instead."
        )
    lease.flush()

    def add(files: list[StoredFile]) -> None:
        (file,) = files
        lease.write_with_retry(
            partial(publishing.add_file, job_id=job.id, attempt=job.attempt, version_id=version.id, file=file)
        )

    tracked_files.store_and_reference(context.sessions, context.artifacts, paths, add)
