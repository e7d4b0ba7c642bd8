"""Create the jobs that train: trainings and reproductions. And retry jobs of all kinds."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables.base import Visibility
from shared.database.tables.datasets import Revision
from shared.database.tables.jobs import (
    ANONYMOUS,
    ENDED,
    Job,
    JobEpoch,
    JobKind,
    JobStatus,
)
from shared.database.tables.registry import Version
from shared.datasets import revisions
from shared.datasets.info import DatasetInfo
from shared.datasets.stored_inline import read_stored_inline, replace_inline
from shared.errors import (
    Fault,
    InvalidRequest,
    JobCannotBeRetried,
    JobNotFound,
    list_names,
)
from shared.jobs import batch_predictions, creation, cross_validation, events, queries
from shared.jobs.events import format_epoch
from shared.registry import pretrained
from shared.spec.dataset import DatasetSpec, StoredInlineData, ValidationFolds
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile


@dataclass(frozen=True)
class ResolvedSpec:
    """A spec that names a fixed revision of its data set and a fixed version to start from.

    Attributes:
        sent: the spec as the client sent it. An idempotency key belongs to this spec.
        spec: the same spec with the numbers of the revision and of the version to start from, and with all inline data.
        info: description of the uploaded data set; None for other data.
        validation_info: description of the data set that `validation` names; None if it names none.
        version: the version to start from; None if the spec itself contains the network.
    """

    sent: TrainingSpec
    spec: TrainingSpec
    info: DatasetInfo | None
    validation_info: DatasetInfo | None
    version: Version | None


def resolve(session: Session, spec: TrainingSpec, artifacts: ArtifactStore) -> ResolvedSpec:
    """Fill in the revision of the data set, stored inline data, and the number of the version to start from.

    Raises InvalidRequest if the version or the stored data do not exist, or ArtifactDamaged.
    """
    _check_stored_inline(session, spec.dataset)
    dataset, info = revisions.pin_revision(session, read_stored_inline(spec.dataset, artifacts))
    other = revisions.find_validation_revision(session, dataset)
    validation_info = revisions.to_dataset_info(other) if other is not None else None
    if other is not None:
        _check_same_columns(revisions.find_spec_revision(session, dataset), other)
    version = pretrained.find_pretrained(session, spec.network)
    pinned = pretrained.pin_version(spec.model_copy(update={"dataset": dataset}), version)
    return ResolvedSpec(spec, pinned, info, validation_info, version)


def submit(
    session: Session,
    resolved: ResolvedSpec,
    owner: str,
    max_queued: int | None,
    key: str | None = None,
    inline: StoredFile | None = None,
    *,
    visibility: Visibility = Visibility.PROJECT,
) -> tuple[Job, bool]:
    """Submit a training. Returns the job, and whether it is an earlier one with the same training (`reuse`).

    Args:
        max_queued: how many jobs the owner can have in the queue; None for no limit.
        key: idempotency key, as in `create_job`; None without one.
        inline: the stored inline data, as in `create_job`; None if the spec contains them.

    Raises DatasetNotFound, IdempotencyKeyReused, TooManyJobs, or tracked_files.FilesCollected.
    """
    if resolved.spec.reuse and (equal := find_equal_training(session, resolved.spec)) is not None:
        return equal, True
    job = create_job(session, resolved.spec, owner, max_queued, key, resolved.sent, inline, visibility=visibility)
    return job, False


def create_job(
    session: Session,
    spec: TrainingSpec,
    owner: str = ANONYMOUS,
    max_queued: int | None = None,
    key: str | None = None,
    sent: TrainingSpec | None = None,
    inline: StoredFile | None = None,
    *,
    visibility: Visibility = Visibility.PROJECT,
) -> Job:
    """Create a queued training, or one for each fold of a cross-validation. Returns the first of them.

    Args:
        max_queued: how many jobs the owner can have in the queue; None for no limit.
        key: idempotency key that the client chose. If the owner created a job with this key in the last 24 hours, that
            job is returned.
        sent: the spec as the client sent it, if it differs from `spec`: the numbers that `spec` pins can differ when
            the client repeats its request.
        inline: the file with the inline data, if they are too large for the database.

    Raises IdempotencyKeyReused if the key belongs to another spec, TooManyJobs, DatasetNotFound if the revision was
    deleted, or tracked_files.FilesCollected.
    """
    jobs = [_make_training(session, each, owner, inline) for each in cross_validation.list_fold_specs(spec)]
    first, digest = jobs[0], creation.compute_spec_digest(sent or spec)
    if key is not None and (earlier := creation.find_by_key(session, first, key, digest)) is not None:
        return earlier
    for job in jobs:
        job.visibility = visibility
    for job in jobs[1:]:
        job.cross_validation = first.cross_validation = first.id
    creation.add(session, jobs, max_queued)
    return first


def _make_training(session: Session, spec: TrainingSpec, owner: str, inline: StoredFile | None) -> Job:
    if inline is None:
        return creation.make_job(session, spec, owner)
    tracked_files.reference(session, [inline.sha256])
    stored = spec.model_copy(update={"dataset": replace_inline(spec.dataset, inline)})
    job = creation.make_job(session, stored, owner)
    if not isinstance(spec.dataset.validation, ValidationFolds):  # nobody looks for a fold by its data
        job.training_digest = creation.compute_training_digest(spec)
    return job


def create_reproduction(
    session: Session,
    spec: TrainingSpec,
    model: str,
    number: int,
    owner: str = ANONYMOUS,
    max_queued: int | None = None,
) -> Job:
    """Create a job that trains a version again and compares the result with it. It publishes no version.

    `spec` is the spec of the version `number` of `model`. Raises TooManyJobs, or DatasetNotFound if its data were
    deleted.
    """
    job = create_job(session, spec, owner, max_queued)
    job.reproduces = {"model": model, "version": number}
    return job


def create_retry(
    session: Session,
    job_id: UUID,
    owner: str | None = None,
    max_queued: int | None = None,
    *,
    from_start: bool = False,
) -> tuple[Job, bool]:
    """Create a job with the spec of a failed or cancelled job. It resumes from the checkpoint or the results so far.

    With `from_start` it starts from the beginning. If an earlier retry has not ended yet, no job is created. `owner` is
    the owner of the new job; None for that of the old one.

    Returns:
        The new job and True, or the earlier retry and False.

    Raises JobNotFound, JobCannotBeRetried, DatasetNotFound if its data were deleted, or TooManyJobs.
    """
    old = queries.lock_job(session, job_id)  # the lock keeps its checkpoint
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobCannotBeRetried(f"Job {job_id} is {old.status}. Only a failed or cancelled job can be retried.")
    spec = creation.SPECS[JobKind(old.kind)].model_validate(old.spec)
    job = creation.make_job(session, spec, owner or old.owner)
    unended = select(Job).where(Job.retry_of == job_id, Job.status.not_in(ENDED)).order_by(Job.created_at).limit(1)
    if (running := session.scalars(unended).one_or_none()) is not None:
        return running, False
    job.retry_of, job.training_digest = old.id, old.training_digest
    job.reproduces, job.cross_validation, job.visibility = old.reproduces, old.cross_validation, old.visibility
    if old.kind == JobKind.IMPORT and old.weights_file is not None:
        tracked_files.reference(session, [old.weights_file])
        job.weights_file = old.weights_file
    creation.add(session, [job], max_queued)
    if old.kind == JobKind.PREDICTION:
        batch_predictions.copy_to_retry(session, old, job, with_parts=not from_start)
    elif old.kind == JobKind.TRAINING and not from_start:
        job.checkpoint_file, job.checkpoint_epoch = old.checkpoint_file, old.checkpoint_epoch
        done = events.list_epochs(session, old.id, 0, old.checkpoint_epoch)
        session.add_all(JobEpoch(job_id=job.id, **format_epoch(epoch)) for epoch in done)
    return job, True


def find_equal_training(session: Session, spec: TrainingSpec) -> Job | None:
    """Find the newest job that published a version of the same training. Returns None if no such version exists."""
    query = select(Job).where(
        Job.training_digest == creation.compute_training_digest(spec), Job.status == JobStatus.SUCCEEDED
    )
    query = query.where(Job.version.has()).order_by(Job.created_at.desc()).limit(1)
    return session.scalars(query).one_or_none()


def find_reproduction(session: Session, model: str, number: int) -> Job:
    """Find the newest job that reproduces a version. Raises JobNotFound."""
    is_reproduction = Job.model == model, Job.reproduces["version"].as_integer() == number
    job = session.scalars(select(Job).where(*is_reproduction).order_by(Job.created_at.desc()).limit(1)).one_or_none()
    if job is not None:
        return job
    raise JobNotFound(f"Version {number} of {model!r} has no reproduction. Send POST to this URL to create one.")


def _check_same_columns(revision: Revision | None, other: Revision) -> None:
    """Check that the data set that `validation` names has the columns of the training data. Raises InvalidRequest."""
    ours = revision.description["columns"] if revision is not None else []
    theirs = other.description["columns"]
    if ours and theirs and ours != theirs:
        detail = (
            f"The columns of {other.dataset}@{other.number} are {list_names(theirs)}, and those of the training data "
            f"are {list_names(ours)}. Upload it with the same columns in the same order."
        )
        raise InvalidRequest("The validation data does not fit.", (Fault("#/dataset/validation/dataset", detail),))


def _check_stored_inline(session: Session, spec: DatasetSpec) -> None:
    """Check that a job has the stored inline data that a spec names. Raises InvalidRequest."""
    if not isinstance(spec.inline, StoredInlineData):
        return
    if session.scalars(select(Job.id).where(Job.inline_file == spec.inline.sha256).limit(1)).one_or_none() is None:
        detail = "No job has inline data with this sha256. Send the data themselves in `x` and `y`."
        raise InvalidRequest("The request is invalid.", (Fault("#/dataset/inline/sha256", detail),))
