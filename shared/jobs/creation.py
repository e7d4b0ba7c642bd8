"""Build the row of a job, and add it within the limit of its owner. Every kind of job is created with this."""

import hashlib
import json
from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.access.rights import DEFAULT_PROJECT
from shared.access.visibility import OF_ALL
from shared.database.tables.base import now
from shared.database.tables.jobs import Job, JobEvent, JobKind, JobStatus, JobTag, Owner
from shared.database.tables.registry import Model
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.devices import Device
from shared.errors import Fault, IdempotencyKeyReused, InvalidRequest, TooManyJobs
from shared.jobs import quotas
from shared.spec.baselines import BaselineSpec
from shared.spec.batch_prediction import BatchSpec
from shared.spec.dataset import StoredInlineData, ValidationDataset
from shared.spec.evaluation import EvaluationSpec
from shared.spec.export import ExportSpec
from shared.spec.model_import import ImportSpec
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files

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


def make_job(session: Session, spec: Spec, owner: str) -> Job:
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
        project=_find_project(session, spec.model),
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


def add(session: Session, jobs: Sequence[Job], max_queued: int | None) -> None:
    """Add new jobs of one owner to the session, each with its first event.

    `max_queued` is how many jobs the owner can have in the queue; None for no limit, also without the quotas. Raises
    TooManyJobs or QuotaExceeded.
    """
    for job in jobs:
        session.add_all((job, _make_first_event(job)))
    session.flush()
    if max_queued is not None:
        _check_limit(session, jobs[0].owner, max_queued, len(jobs))
        quotas.check_jobs(session, jobs[0].owner, jobs[0].project)


def find_by_key(session: Session, job: Job, key: str, digest: str) -> Job | None:
    """Find the job that the owner created with this key. Returns None if there is none: `job` then has the key.

    `digest` is the sha256 of the request. Raises IdempotencyKeyReused if the request of the found job is different, or
    if it is in a project that the owner has left.
    """
    job.idempotency_key, job.spec_digest = key, digest
    same_key = and_(Job.owner == job.owner, Job.idempotency_key == key)
    expired = and_(same_key, Job.created_at < now(-IDEMPOTENCY_HOURS * 3600))
    session.execute(update(Job).where(expired).values(idempotency_key=None))
    # The owner's row is locked: a concurrent request with the same key waits, and then finds this job.
    first = session.scalars(select(Job).where(same_key), execution_options=OF_ALL).one_or_none()
    if first is None:
        return None
    is_seen = session.scalars(select(Job.id).where(Job.id == first.id)).one_or_none() is not None
    if not is_seen or first.spec_digest != digest:
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


def _find_project(session: Session, model: str) -> str:
    """Return the project of a model. One that nobody has reserved is in the default project."""
    query = select(Model.project).where(Model.name == model)
    return session.scalars(query, execution_options=OF_ALL).one_or_none() or DEFAULT_PROJECT


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


def _lock_validation(session: Session, spec: Spec) -> int | None:
    """Return the id of the revision that `validation` names; None if it names none. Raises DatasetNotFound."""
    if not isinstance(spec, TrainingSpec) or not isinstance(spec.dataset.validation, ValidationDataset):
        return None
    return revisions.lock_revision(session, spec.dataset.validation.dataset)


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


def _check_limit(session: Session, owner: str, max_queued: int, added: int) -> None:
    mine = select(func.count()).select_from(Job).where(Job.owner == owner, Job.status == JobStatus.QUEUED)
    queued = session.scalars(mine).one() - added
    if queued + added <= max_queued:
        return
    asked = f"{added} jobs" if added > 1 else "a job"
    remedy = "Wait until a job has started, or cancel one."
    if added > max_queued:
        remedy = "Lower `folds`, or ask who runs the service to raise the limit."
    raise TooManyJobs(
        f"{owner!r} has {queued} queued jobs and asks for {asked}; the limit is {max_queued} "
        f"(TRAINYARD_MAX_QUEUED_PER_OWNER). {remedy}"
    )


def _make_first_event(job: Job) -> JobEvent:
    return JobEvent(job_id=job.id, number=1, kind="status", content={"status": job.status, "attempt": 0})
