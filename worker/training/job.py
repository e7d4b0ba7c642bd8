"""Run a training job: load its data, train, export, evaluate, publish."""

import logging
import math
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from shared.database.tables.jobs import Job
from shared.database.tables.registry import Version
from shared.datasets import revisions, splits
from shared.jobs import lifecycle, publishing
from shared.jobs.lifecycle import LeaseLost
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
from shared.storage.tracked_files import FilesSwept
from worker.lease import Lease
from worker.process.devices import tensorflow_device
from worker.training.checkpoint_store import CheckpointKeeper

if TYPE_CHECKING:
    from worker.training.pretrained import Start
from worker.context import Yard

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "scikit-learn", "tf2onnx")


def train_and_publish(yard: Yard, job: Job, lease: Lease, folder: Path) -> None:
    from shared.networks.builder import layer_rows
    from worker.training.context import Workplace
    from worker.training.evaluation import threshold_of, write_evaluation
    from worker.training.export import (  # TensorFlow: this process has it loaded, the parent must not
        export,
        weights_digest,
    )
    from worker.training.tensorboard import zip_logs
    from worker.training.train import train

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
            publishing.publish,
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
