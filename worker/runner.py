"""One job: claim, train, publish, or say why not."""

import logging
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from shared import logs
from shared.database.engine import OUT_OF_REACH, Sessions
from shared.database.tables.jobs import Job, Version
from shared.datasets import revisions, splits
from shared.devices import Device, devices_taken_from
from shared.errors import InternalError, ServiceError, StorageUnavailable, TrainingFailure, VersionUnusable
from shared.jobs import lifecycle
from shared.jobs.broker import Bell
from shared.jobs.lifecycle import LeaseLost, Patience
from shared.preprocessing.contract import ImageLimits
from shared.registry import pretrained, versions
from shared.registry.manifest import (
    INPUT_NAME,
    OUTPUT_NAME,
    DatasetUsed,
    Description,
    Lineage,
    Signature,
    TensorSignature,
)
from shared.registry.reproduction import compare
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from shared.storage.tracked_files import FilesSwept
from worker.lease import JobCancelled, Lease, WorkerLeaves
from worker.prediction.job import predict_batch
from worker.process.devices import tensorflow_device
from worker.process.job_log import logged
from worker.training.checkpoint_store import CheckpointKeeper

if TYPE_CHECKING:
    from worker.training.pretrained import Start

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "scikit-learn", "tf2onnx")


@dataclass(frozen=True)
class Yard:
    """What a training process works with; `is_leaving` says that it is to end soon."""

    sessions: Sessions
    artifacts: ArtifactStore
    bell: Bell
    worker: str
    queues: tuple[str, ...]
    datasets_dir: Path
    cache_dir: Path
    image_limits: ImageLimits
    lease_seconds: float
    progress_seconds: float
    patience: Patience
    most_running: int | None
    is_leaving: Callable[[], bool]
    count_gpus: Callable[[], int]


def run_next_job(yard: Yard) -> UUID | None:
    """Answers the job that was run; None when the bell was stale and nothing waits."""
    devices = devices_taken_from(yard.queues)
    if yard.is_leaving():
        return None
    try:
        with yard.sessions.begin() as session:
            job = lifecycle.claim(session, yard.worker, devices, yard.lease_seconds, yard.most_running)
    except OUT_OF_REACH as error:
        logger.warning("no job claimed, the database is out of reach: %s", error)
        return None
    if job is None:
        return None
    with logs.context(job_id=str(job.id)):
        logger.info("job %s claimed, attempt %d", job.id, job.attempt)
        _run(yard, job)
    _ring_for_the_next(yard, devices)
    return job.id


def _run(yard: Yard, job: Job) -> None:
    lease = Lease(
        yard.sessions, job.id, job.attempt, yard.lease_seconds, yard.progress_seconds, is_leaving=yard.is_leaving
    )
    try:
        ended = _ended(yard, job, lease)
        if ended is not None:
            lease.insist(ended)
            logger.info("job %s ended its attempt %d", job.id, job.attempt)
    except LeaseLost:
        logger.warning("job %s given up, attempt %d no longer holds it", job.id, job.attempt)
    except OUT_OF_REACH:
        logger.exception("job %s left alone: its lease runs out, and it is queued again", job.id)


def _ended(yard: Yard, job: Job, lease: Lease) -> Callable[[Session], None] | None:
    """Trains or predicts, and answers what is still to be written of how it ended; None when it was published.

    Raises LeaseLost, or what a database raises that is out of reach.
    """
    try:
        with lease, logged(lease), tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            if job.batch is None:
                _train_and_publish(yard, job, lease, Path(folder))
            else:
                predict_batch(yard, job, lease, Path(folder))
    except JobCancelled:
        return lambda session: lifecycle.finish_cancelling(session, job.id, job.attempt)
    except WorkerLeaves:
        return lambda session: lifecycle.hand_back(session, job.id, job.attempt)
    except (TrainingFailure, ServiceError) as failure:
        # What the job was created for may have been deleted, or damaged, since.
        known = failure if isinstance(failure, TrainingFailure) else VersionUnusable(failure.detail)
        return lambda session: lifecycle.fail(session, job.id, job.attempt, known)
    except (LeaseLost, *OUT_OF_REACH):
        raise
    except OSError as error:
        logger.exception("job %s put off", job.id)
        reason = StorageUnavailable(f"Files could not be read or written ({error}): see whether the disk is full.")
        return lambda session: lifecycle.put_off(session, job.id, job.attempt, yard.patience, reason)
    except Exception:
        logger.exception("job %s failed unexpectedly", job.id)
        defect = InternalError("Something went wrong that is not the spec's fault; the worker's log says what.")
        return lambda session: lifecycle.fail(session, job.id, job.attempt, defect)
    return None


def _train_and_publish(yard: Yard, job: Job, lease: Lease, folder: Path) -> None:
    from shared.networks.builder import layer_rows
    from worker.training.evaluation import threshold_of, write_evaluation
    from worker.training.export import (  # TensorFlow: this process has it loaded, the parent must not
        export,
        weights_digest,
    )
    from worker.training.tensorboard import zip_logs
    from worker.training.train import Workplace, train

    spec = TrainingSpec.model_validate(job.spec)
    device = tensorflow_device(spec.resources.device, yard.count_gpus())
    with yard.sessions() as session:
        revision = revisions.find_chosen(session, spec.dataset)
        base = pretrained.find_base(session, spec.network)
    uploaded = None
    if revision is not None:
        uploaded = revisions.uploaded_data(revision, yard.artifacts, yard.cache_dir / "uploaded")
    dataset = splits.load(spec.dataset, spec.training.seed, yard.datasets_dir, uploaded)
    logger.info(
        "%s: %d rows to train on, %d to validate, %d to test",
        spec.dataset.name or "the data in the spec",
        len(dataset.train),
        len(dataset.validation),
        len(dataset.test),
    )
    start = _start(yard, base, folder) if base is not None else None
    lease.check()
    keeper = CheckpointKeeper(yard.sessions, yard.artifacts, job, folder, lease.write_now)
    place = Workplace(device, lease, yard.progress_seconds, yard.cache_dir / "prepared", folder / "logs", keeper)
    trained = train(spec, dataset, place, start)
    network = trained.network
    outputs = trained.test_outputs
    threshold = threshold_of(trained.objective, dataset.test.y, outputs) if outputs is not None else None
    description = Description(
        model=spec.model,
        classes=trained.objective.classes,
        columns=tuple(revision.description["columns"]) if revision is not None else (),
        preprocessing=trained.contract,
        signature=_signature(trained.contract.input_shape, network.output_shape[1:]),
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        layers=layer_rows(network),
        metrics=trained.metrics,
        epochs=trained.epochs,
        precision=trained.precision,
        weights_digest=weights_digest(network),
        confidence_threshold=threshold,
        lineage=_lineage(job, spec, dataset),
    )
    logger.info("trained %d of %d epochs, in %s", trained.epochs.trained, trained.epochs.asked, trained.precision)
    if job.reproduces is not None:
        _finish_reproduction(job, description, lease)
        keeper.drop()
        return
    paths = export(trained, description, dataset, folder)
    if trained.test_outputs is not None and trained.metrics.test is not None:
        test = trained.metrics.test
        paths += write_evaluation(
            trained.objective, dataset.test.y, trained.test_outputs, test, trained.test_images, folder
        )
    paths += zip_logs(place.logs_dir, folder)
    lease.settle()
    number = _publish(yard, job, description, paths, lease)
    keeper.drop()
    logger.info("version %s/%d published", spec.model, number)


def _finish_reproduction(job: Job, again: Description, lease: Lease) -> None:
    reproduces = job.reproduces
    assert reproduces is not None  # noqa: S101 - or it would not be one

    def finish(session: Session) -> None:
        version = versions.get_version(session, reproduces["model"], str(reproduces["version"]))
        reproduction = compare(Description.model_validate(version.description), again)
        lifecycle.finish_reproduction(session, job.id, job.attempt, reproduction.model_dump(mode="json"))

    lease.settle()
    lease.insist(finish)
    logger.info("version %s/%s trained once more", reproduces["model"], reproduces["version"])


def _start(yard: Yard, version: Version, folder: Path) -> "Start":
    from worker.training.pretrained import Start

    weights = folder / "base.weights.h5"
    weights.write_bytes(yard.artifacts.read(versions.get_file(version, "model.weights.h5").sha256))
    return Start(pretrained.read_base(version, yard.artifacts), weights)


def _publish(yard: Yard, job: Job, description: Description, paths: list[Path], lease: Lease) -> int:
    document = description.model_dump(mode="json")
    while True:
        files = tracked_files.keep(yard.sessions, yard.artifacts, paths)
        publish = partial(
            versions.publish,
            job_id=job.id,
            attempt=job.attempt,
            model=job.model,
            description=document,
            files=files,
        )
        try:
            return lease.insist(publish)
        except FilesSwept as swept:
            logger.warning("file %s was swept before it was published, and is written once more", swept)
        except LeaseLost:
            lease.settle()  # a cancellation that came at the last moment is told apart here
            raise


def _ring_for_the_next(yard: Yard, devices: tuple[Device, ...]) -> None:
    """The job that waits next may have lost its bell, to a restart of the broker for one."""
    try:
        with yard.sessions() as session:
            waiting = lifecycle.devices_waited_for(session)
    except OUT_OF_REACH:  # the reconciler rings later
        return
    for device in set(waiting) & set(devices):
        yard.bell.ring(device)


def _signature(input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Signature:
    def tensor(name: str, shape: tuple[int, ...]) -> TensorSignature:
        return TensorSignature(name=name, dtype="float32", shape=(-1, *shape))

    return Signature(inputs=(tensor(INPUT_NAME, input_shape),), outputs=(tensor(OUTPUT_NAME, output_shape),))


def _lineage(job: Job, spec: TrainingSpec, dataset: splits.Dataset) -> Lineage:
    rows = splits.PartSizes(train=len(dataset.train), validation=len(dataset.validation), test=len(dataset.test))
    return Lineage(
        job=job.id,
        spec=job.spec,
        dataset=DatasetUsed(name=spec.dataset.name, digest=dataset.digest, rows=rows),
        seed=spec.training.seed,
        libraries=_library_versions(),
    )


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu, not both
            continue
    return versions
