"""Create jobs: trainings, reproductions, retries, batch predictions, imports, exports and baselines."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database.tables.base import now
from shared.database.tables.datasets import Revision
from shared.database.tables.jobs import (
    ANONYMOUS,
    ENDED,
    BatchFile,
    Job,
    JobEpoch,
    JobEvent,
    JobKind,
    JobStatus,
    JobTag,
    Owner,
)
from shared.database.tables.registry import Version
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.datasets.info import DatasetInfo
from shared.datasets.stored_inline import read_stored_inline, replace_inline
from shared.devices import Device
from shared.errors import (
    Fault,
    IdempotencyKeyReused,
    InvalidRequest,
    JobCannotBeRetried,
    JobNotFound,
    TooManyJobs,
    list_names,
)
from shared.jobs import batch_predictions, events, queries
from shared.jobs.batch_predictions import BatchState
from shared.jobs.events import format_epoch
from shared.registry import pretrained
from shared.spec.baselines import BaselineSpec
from shared.spec.batch_prediction import BatchSpec
from shared.spec.dataset import DatasetSpec, StoredInlineData, ValidationDataset
from shared.spec.evaluation import EvaluationSpec
from shared.spec.export import ExportSpec
from shared.spec.model_import import ImportSpec
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile

IDEMPOTENCY_HOURS = 24
"""After this time an idempotency key can be used for another job."""
VersionJobSpec = ExportSpec | BaselineSpec | EvaluationSpec
Spec = TrainingSpec | BatchSpec | ImportSpec | VersionJobSpec
SPECS: dict[JobKind, type[Spec]] = {
    JobKind.TRAINING: TrainingSpec,
    JobKind.PREDICTION: BatchSpec,
    JobKind.EXPORT: ExportSpec,
    JobKind.BASELINES: BaselineSpec,
    JobKind.IMPORT: ImportSpec,
    JobKind.EVALUATION: EvaluationSpec,
}
NO_WEIGHTS = (
    "There are no such weights: they are deleted an hour after their upload if no job names them. Upload them again."
)
CODE_VERSION = 1
"""Part of the training digest. Increase it when the code trains the same spec and data to different weights."""


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
    return create_job(session, resolved.spec, owner, max_queued, key, resolved.sent, inline), False


def create_job(
    session: Session,
    spec: TrainingSpec,
    owner: str = ANONYMOUS,
    max_queued: int | None = None,
    key: str | None = None,
    sent: TrainingSpec | None = None,
    inline: StoredFile | None = None,
) -> Job:
    """Create a queued training.

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
    if inline is None:
        job = _make_job(session, spec, owner)
    else:
        tracked_files.reference(session, [inline.sha256])
        dataset = replace_inline(spec.dataset, inline)
        job = _make_job(session, spec.model_copy(update={"dataset": dataset}), owner)
        job.training_digest = compute_training_digest(spec)
    if key is not None and (first := _find_by_key(session, job, key, compute_spec_digest(sent or spec))) is not None:
        return first
    session.add_all((job, _make_first_event(job)))
    _check_limit(session, owner, max_queued)
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
    session: Session, job_id: UUID, max_queued: int | None = None, *, from_start: bool = False
) -> tuple[Job, bool]:
    """Create a job with the spec of a failed or cancelled job. It resumes from the checkpoint or the results so far.

    With `from_start` it starts from the beginning. If an earlier retry has not ended yet, no job is created.

    Returns:
        The new job and True, or the earlier retry and False.

    Raises JobNotFound, JobCannotBeRetried, DatasetNotFound if its data were deleted, or TooManyJobs.
    """
    old = queries.lock_job(session, job_id)  # the lock keeps its checkpoint
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobCannotBeRetried(f"Job {job_id} is {old.status}. Only a failed or cancelled job can be retried.")
    spec = SPECS[JobKind(old.kind)].model_validate(old.spec)
    job = _make_job(session, spec, old.owner)
    unended = select(Job).where(Job.retry_of == job_id, Job.status.not_in(ENDED)).order_by(Job.created_at).limit(1)
    if (running := session.scalars(unended).one_or_none()) is not None:
        return running, False
    job.retry_of, job.training_digest = old.id, old.training_digest
    job.reproduces = old.reproduces
    if old.kind == JobKind.IMPORT and old.weights_file is not None:
        tracked_files.reference(session, [old.weights_file])
        job.weights_file = old.weights_file
    session.add_all((job, _make_first_event(job)))
    if old.kind == JobKind.PREDICTION:
        batch_predictions.copy_to_retry(session, old, job, with_parts=not from_start)
    elif old.kind == JobKind.TRAINING and not from_start:
        job.checkpoint_file, job.checkpoint_epoch = old.checkpoint_file, old.checkpoint_epoch
        done = events.list_epochs(session, old.id, 0, old.checkpoint_epoch)
        session.add_all(JobEpoch(job_id=job.id, **format_epoch(epoch)) for epoch in done)
    _check_limit(session, old.owner, max_queued)
    return job, True


def find_equal_training(session: Session, spec: TrainingSpec) -> Job | None:
    """Find the newest job that published a version of the same training. Returns None if no such version exists."""
    query = select(Job).where(Job.training_digest == compute_training_digest(spec), Job.status == JobStatus.SUCCEEDED)
    query = query.where(Job.version.has()).order_by(Job.created_at.desc()).limit(1)
    return session.scalars(query).one_or_none()


def find_reproduction(session: Session, model: str, number: int) -> Job:
    """Find the newest job that reproduces a version. Raises JobNotFound."""
    is_reproduction = Job.model == model, Job.reproduces["version"].as_integer() == number
    job = session.scalars(select(Job).where(*is_reproduction).order_by(Job.created_at.desc()).limit(1)).one_or_none()
    if job is not None:
        return job
    raise JobNotFound(f"Version {number} of {model!r} has no reproduction. Send POST to this URL to create one.")


def create_batch_prediction(
    session: Session,
    spec: BatchSpec,
    batch: BatchState,
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
    job = _make_job(session, spec, owner)
    content = [spec.model_dump(mode="json"), sorted((file.name, file.sha256) for file in files)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if key is not None and (first := _find_by_key(session, job, key, digest)) is not None:
        return first
    job.batch = batch.model_dump(mode="json")
    tracked_files.reference(session, [file.sha256 for file in files])
    session.add_all((job, _make_first_event(job)))
    session.flush()
    session.add_all(
        BatchFile(job_id=job.id, name=file.name, sha256=file.sha256, size_bytes=file.size_bytes) for file in files
    )
    _check_limit(session, owner, max_queued)
    return job


def create_import(
    session: Session, spec: ImportSpec, arrays: StoredFile, owner: str = ANONYMOUS, max_queued: int | None = None
) -> Job:
    """Create a job that imports a model. `arrays` is the file with its weights.

    Raises TooManyJobs, or tracked_files.FilesCollected.
    """
    job = _make_job(session, spec, owner)
    tracked_files.reference(session, [arrays.sha256])
    job.weights_file = arrays.sha256
    session.add_all((job, _make_first_event(job)))
    _check_limit(session, owner, max_queued)
    return job


def create_version_job(
    session: Session, spec: VersionJobSpec, owner: str = ANONYMOUS, max_queued: int | None = None
) -> tuple[Job, bool]:
    """Create a job that adds a file to a version. If an equal one has not ended or has succeeded, no job is created.

    Returns the job, and whether it is a new one. Raises TooManyJobs.
    """
    job = _make_job(session, spec, owner)
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
    session.add_all((job, _make_first_event(job)))
    _check_limit(session, owner, max_queued)
    return job, True


def _find_by_key(session: Session, job: Job, key: str, digest: str) -> Job | None:
    """Find the job that the owner created with this key. Returns None if there is none: `job` then has the key.

    `digest` is the sha256 of the request. Raises IdempotencyKeyReused if the request of the found job is different.
    """
    job.idempotency_key, job.spec_digest = key, digest
    same_key = and_(Job.owner == job.owner, Job.idempotency_key == key)
    expired = and_(same_key, Job.created_at < now(-IDEMPOTENCY_HOURS * 3600))
    session.execute(update(Job).where(expired).values(idempotency_key=None))
    # The owner's row is locked: a concurrent request with the same key waits, and then finds this job.
    first = session.scalars(select(Job).where(same_key)).one_or_none()
    if first is not None and first.spec_digest != digest:
        raise IdempotencyKeyReused(
            f"The idempotency key {key!r} belongs to another request. Use a new key for each job."
        )
    return first


def compute_spec_digest(spec: Spec) -> str:
    """Compute the sha256 of a spec with all its defaults, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True).encode()).hexdigest()


def compute_training_digest(spec: TrainingSpec) -> str:
    """Compute the sha256 of CODE_VERSION and the spec without resources, tags, notes and reuse, as hexadecimal digits.

    Equal digests mean that two specs train the same version.
    """
    document = spec.model_dump(mode="json", by_alias=True, exclude={"resources", "tags", "notes", "reuse"})
    content = json.dumps([CODE_VERSION, document], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _make_job(session: Session, spec: Spec, owner: str) -> Job:
    """Build a job, without adding it to the session.

    Locks the owner's row until the end of the transaction, so the jobs of one owner are created one after another.
    Raises DatasetNotFound if the revision that the spec names was deleted.
    """
    _lock_owner(session, owner)
    revision_id, inline_file = _find_data(session, spec)
    weights_file = _hold_weights(session, spec)
    created_at = session.scalars(select(now())).one()
    training = spec if isinstance(spec, TrainingSpec) else None
    return Job(
        id=uuid4(),
        owner=owner,
        kind=next(kind for kind, spec_class in SPECS.items() if isinstance(spec, spec_class)),
        model=spec.model,
        spec=spec.model_dump(mode="json", by_alias=True),
        spec_digest=compute_spec_digest(spec),
        training_digest=compute_training_digest(training) if training is not None else "",
        dataset_revision_id=revision_id,
        validation_revision_id=_lock_validation(session, spec),
        inline_file=inline_file,
        weights_file=weights_file,
        device=training.resources.device if training is not None else Device.AUTO,
        priority=spec.resources.priority if isinstance(spec, TrainingSpec) else spec.priority,
        notes=spec.notes,
        status=JobStatus.QUEUED,
        last_event=1,
        created_at=created_at,
        tags=[JobTag(key=key, value=value, created_at=created_at) for key, value in spec.tags.items()],
    )


def _find_data(session: Session, spec: Spec) -> tuple[int | None, str | None]:
    """Return the id of the revision and the digest of the stored inline data of a spec, each None without one.

    Raises DatasetNotFound if the revision was deleted.
    """
    if isinstance(spec, EvaluationSpec):
        uploaded = spec.dataset if spec.dataset is not None and "@" in spec.dataset else None
        return revisions.lock_revision(session, uploaded) if uploaded is not None else None, None
    if isinstance(spec, VersionJobSpec | ImportSpec):
        return None, None
    if isinstance(spec, BatchSpec):
        return revisions.lock_revision(session, spec.dataset) if spec.dataset is not None else None, None
    dataset = spec.dataset
    if isinstance(dataset.inline, StoredInlineData):
        return None, dataset.inline.sha256
    if dataset.name is None or dataset.name in BUILTIN_DATASETS:
        return None, None
    return revisions.lock_revision(session, dataset.name), None


def _hold_weights(session: Session, spec: Spec) -> str | None:
    """Return the digest of the uploaded weights that a spec names; None if it names none. Raises InvalidRequest."""
    if not isinstance(spec, TrainingSpec) or spec.network.weights is None:
        return None
    digest = spec.network.weights.removeprefix("sha256:")
    try:
        tracked_files.reference(session, [digest])
    except tracked_files.FilesCollected:
        raise InvalidRequest("The request is invalid.", (Fault("#/network/weights", NO_WEIGHTS),)) from None
    return digest


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


def _lock_validation(session: Session, spec: Spec) -> int | None:
    """Return the id of the revision that `validation` names; None if it names none. Raises DatasetNotFound."""
    if not isinstance(spec, TrainingSpec) or not isinstance(spec.dataset.validation, ValidationDataset):
        return None
    return revisions.lock_revision(session, spec.dataset.validation.dataset)


def _check_stored_inline(session: Session, spec: DatasetSpec) -> None:
    """Check that a job has the stored inline data that a spec names. Raises InvalidRequest."""
    if not isinstance(spec.inline, StoredInlineData):
        return
    if session.scalars(select(Job.id).where(Job.inline_file == spec.inline.sha256).limit(1)).one_or_none() is None:
        detail = "No job has inline data with this sha256. Send the data themselves in `x` and `y`."
        raise InvalidRequest("The request is invalid.", (Fault("#/dataset/inline/sha256", detail),))


def _lock_owner(session: Session, owner: str) -> None:
    """Lock the owner's row until the end of the transaction. Inserts it for a new owner."""
    locked = update(Owner).where(Owner.name == owner).values(name=owner).returning(Owner.name)
    if session.execute(locked).one_or_none() is not None:
        return
    try:
        with session.begin_nested():
            session.execute(insert(Owner).values(name=owner))
    except IntegrityError:  # a concurrent request has inserted it
        session.execute(locked)


def _check_limit(session: Session, owner: str, max_queued: int | None) -> None:
    if max_queued is None:
        return
    session.flush()
    mine = select(func.count()).select_from(Job).where(Job.owner == owner, Job.status == JobStatus.QUEUED)
    if session.scalars(mine).one() > max_queued:
        raise TooManyJobs(
            f"{owner!r} has {max_queued} queued jobs, the limit (TRAINYARD_MAX_QUEUED_PER_OWNER). "
            "Wait until a job has started, or cancel one."
        )


def _make_first_event(job: Job) -> JobEvent:
    return JobEvent(job_id=job.id, number=1, kind="status", content={"status": job.status, "attempt": 0})
