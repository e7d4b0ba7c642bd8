"""One job: claim, train, publish, or say why not."""

import logging
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from shared import base_versions, dataset_parts, datasets, jobs, logs, registry
from shared.artifacts import ArtifactStore, StoredFile
from shared.database import Sessions
from shared.devices import Device, devices_taken_from
from shared.errors import InternalError, TrainingFailure
from shared.jobs import LeaseLost
from shared.queue import Bell
from shared.reproduction import compare
from shared.tables import Job, Version
from shared.training_spec import TrainingSpec
from shared.version_description import (
    INPUT_NAME,
    OUTPUT_NAME,
    DatasetUsed,
    Description,
    Lineage,
    Signature,
    TensorSignature,
)
from worker.devices import tensorflow_device
from worker.lease import JobCancelled, Lease

if TYPE_CHECKING:
    from worker.fine_tuning import Start

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "scikit-learn", "tf2onnx")


@dataclass(frozen=True)
class Yard:
    """What a training process works with."""

    sessions: Sessions
    artifacts: ArtifactStore
    bell: Bell
    worker: str
    queues: tuple[str, ...]
    datasets_dir: Path
    cache_dir: Path
    lease_seconds: float
    progress_seconds: float
    count_gpus: Callable[[], int]


def run_next_job(yard: Yard) -> UUID | None:
    """Answers the job that was run; None when the bell was stale and nothing waits."""
    devices = devices_taken_from(yard.queues)
    with yard.sessions.begin() as session:
        job = jobs.claim(session, yard.worker, devices, yard.lease_seconds)
    if job is None:
        return None
    with logs.context(job_id=str(job.id)):
        logger.info("job %s claimed, attempt %d", job.id, job.attempt)
        _run(yard, job)
    _ring_for_the_next(yard, devices)
    return job.id


def _run(yard: Yard, job: Job) -> None:
    lease = Lease(yard.sessions, job.id, job.attempt, yard.lease_seconds, yard.progress_seconds)
    try:
        with lease, tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            _train_and_publish(yard, job, lease, Path(folder))
    except LeaseLost:
        logger.warning("job %s given up, attempt %d no longer holds it", job.id, job.attempt)
    except JobCancelled:
        with yard.sessions.begin() as session:
            jobs.finish_cancelling(session, job.id, job.attempt)
        logger.info("job %s cancelled", job.id)
    except TrainingFailure as failure:
        _fail(yard, job, failure)
    except Exception:
        logger.exception("job %s failed unexpectedly", job.id)
        _fail(
            yard, job, InternalError("Something went wrong that is not the spec's fault; the worker's log says what.")
        )


def _train_and_publish(yard: Yard, job: Job, lease: Lease, folder: Path) -> None:
    from shared.network import layer_rows
    from worker.evaluation import write_evaluation
    from worker.export import export, weights_digest  # TensorFlow: this process has it loaded, the parent must not
    from worker.tensorboard import zip_logs
    from worker.training import Workplace, train

    spec = TrainingSpec.model_validate(job.spec)
    device = tensorflow_device(spec.resources.device, yard.count_gpus())
    with yard.sessions() as session:
        revision = datasets.find_chosen(session, spec.dataset)
        base = base_versions.find_base(session, spec.network)
    uploaded = None
    if revision is not None:
        uploaded = datasets.uploaded_data(revision, yard.artifacts, yard.cache_dir / "uploaded")
    dataset = dataset_parts.load(spec.dataset, spec.training.seed, yard.datasets_dir, uploaded)
    start = _start(yard, base, folder) if base is not None else None
    lease.check()
    place = Workplace(device, lease, yard.progress_seconds, yard.cache_dir / "prepared", folder / "logs")
    trained = train(spec, dataset, place, start)
    network = trained.network
    description = Description(
        model=spec.model,
        classes=trained.objective.classes,
        preprocessing=trained.contract,
        signature=_signature(trained.contract.input_shape, network.output_shape[1:]),
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        layers=layer_rows(network),
        metrics=trained.metrics,
        epochs=trained.epochs,
        precision=trained.precision,
        weights_digest=weights_digest(network),
        lineage=_lineage(job, spec, dataset),
    )
    if job.reproduces is not None:
        _finish_reproduction(yard, job, description, lease)
        return
    paths = export(trained, description, dataset, folder)
    if trained.test_outputs is not None and trained.metrics.test is not None:
        test = trained.metrics.test
        paths += write_evaluation(
            trained.objective, dataset.test.y, trained.test_outputs, test, trained.test_images, folder
        )
    paths += zip_logs(place.logs_dir, folder)
    lease.settle()
    files = [yard.artifacts.put(path) for path in paths]
    number = _publish(yard, job, description, files, lease)
    logger.info("version %s/%d published", spec.model, number)


def _finish_reproduction(yard: Yard, job: Job, again: Description, lease: Lease) -> None:
    assert job.reproduces is not None  # noqa: S101 - or it would not be one
    lease.settle()
    with yard.sessions.begin() as session:
        version = registry.get_version(session, job.reproduces["model"], str(job.reproduces["version"]))
        reproduction = compare(Description.model_validate(version.description), again)
        jobs.finish_reproduction(session, job.id, job.attempt, reproduction.model_dump(mode="json"))
    logger.info("version %s/%d trained once more", version.model, version.number)


def _start(yard: Yard, version: Version, folder: Path) -> "Start":
    from worker.fine_tuning import Start

    weights = folder / "base.weights.h5"
    weights.write_bytes(yard.artifacts.read(registry.get_file(version, "model.weights.h5").sha256))
    return Start(base_versions.read_base(version, yard.artifacts), weights)


def _publish(yard: Yard, job: Job, description: Description, files: list[StoredFile], lease: Lease) -> int:
    try:
        with yard.sessions.begin() as session:
            return registry.publish(session, job.id, job.attempt, job.model, description.model_dump(mode="json"), files)
    except LeaseLost:
        lease.settle()  # a cancellation that came at the last moment is told apart here
        raise


def _fail(yard: Yard, job: Job, failure: TrainingFailure) -> None:
    try:
        with yard.sessions.begin() as session:
            jobs.fail(session, job.id, job.attempt, failure)
    except LeaseLost:
        logger.warning("job %s given up, attempt %d no longer holds it", job.id, job.attempt)
    else:
        logger.info("job %s failed: %s", job.id, failure.detail)


def _ring_for_the_next(yard: Yard, devices: tuple[Device, ...]) -> None:
    """The job that waits next may have lost its bell, to a restart of the broker for one."""
    with yard.sessions() as session:
        waiting = jobs.devices_waited_for(session)
    for device in set(waiting) & set(devices):
        yard.bell.ring(device)


def _signature(input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Signature:
    def tensor(name: str, shape: tuple[int, ...]) -> TensorSignature:
        return TensorSignature(name=name, dtype="float32", shape=(-1, *shape))

    return Signature(inputs=(tensor(INPUT_NAME, input_shape),), outputs=(tensor(OUTPUT_NAME, output_shape),))


def _lineage(job: Job, spec: TrainingSpec, dataset: dataset_parts.Dataset) -> Lineage:
    rows = dataset_parts.PartSizes(train=len(dataset.train), validation=len(dataset.validation), test=len(dataset.test))
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
