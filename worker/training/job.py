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
    Lineage,
    Signature,
    TensorSignature,
    VersionManifest,
)
from shared.registry.reproduction import compare_versions
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.tracked_files import FilesCollected
from worker.lease import Lease
from worker.process.devices import choose_device
from worker.training.checkpoint_store import ArtifactCheckpointStore

if TYPE_CHECKING:
    from worker.training.pretrained import InitialWeights
from worker.context import WorkerContext

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "scikit-learn", "tf2onnx")


def run_training_job(yard: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    from shared.networks.builder import describe_layers
    from worker.training.context import TrainingContext
    from worker.training.evaluation import find_confidence_threshold, write_evaluation
    from worker.training.export import compute_weights_digest, export_version
    from worker.training.tensorboard import zip_logs
    from worker.training.train import train

    spec = TrainingSpec.model_validate(job.spec)
    device = choose_device(spec.resources.device, yard.count_gpus())
    with yard.sessions() as session:
        revision = revisions.find_spec_revision(session, spec.dataset)
        base = pretrained.find_pretrained(session, spec.network)
    uploaded = None
    if revision is not None:
        uploaded = revisions.open_revision(revision, yard.artifacts, yard.cache_dir / "uploaded")
    dataset = splits.load_dataset(spec.dataset, spec.training.seed, yard.datasets_dir, uploaded)
    logger.info(
        "%s: %d rows to train on, %d to validate, %d to test",
        spec.dataset.name or "the data in the spec",
        len(dataset.train),
        len(dataset.validation),
        len(dataset.test),
    )
    start = _load_initial_weights(yard, base, folder) if base is not None else None
    lease.check()
    store = ArtifactCheckpointStore(yard.sessions, yard.artifacts, job, folder, lease.flush_epochs)
    context = TrainingContext(device, lease, yard.progress_seconds, yard.cache_dir / "prepared", folder / "logs", store)
    trained = train(spec, dataset, context, start)
    network = trained.network
    outputs = trained.test_outputs
    threshold = find_confidence_threshold(trained.objective, dataset.test.y, outputs) if outputs is not None else None
    manifest = VersionManifest(
        model=spec.model,
        classes=trained.objective.classes,
        columns=tuple(revision.description["columns"]) if revision is not None else (),
        preprocessing=trained.contract,
        signature=_make_signature(trained.contract.input_shape, network.output_shape[1:]),
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        layers=describe_layers(network),
        metrics=trained.metrics,
        epochs=trained.epochs,
        precision=trained.precision,
        weights_digest=compute_weights_digest(network),
        confidence_threshold=threshold,
        lineage=_make_lineage(job, spec, dataset),
    )
    logger.info("trained %d of %d epochs, in %s", trained.epochs.trained, trained.epochs.asked, trained.precision)
    if job.reproduces is not None:
        _finish_reproduction(job, manifest, lease)
        store.delete_file()
        return
    paths = export_version(trained, manifest, dataset, folder)
    if trained.test_outputs is not None and trained.metrics.test is not None:
        test = trained.metrics.test
        paths += write_evaluation(
            trained.objective, dataset.test.y, trained.test_outputs, test, trained.test_images, folder
        )
    paths += zip_logs(context.logs_dir, folder)
    lease.flush()
    number = _publish(yard, job, manifest, paths, lease)
    store.delete_file()
    logger.info("version %s/%d published", spec.model, number)


def _finish_reproduction(job: Job, again: VersionManifest, lease: Lease) -> None:
    reproduces = job.reproduces
    assert reproduces is not None  # noqa: S101 - or it would not be one

    def finish(session: Session) -> None:
        version = versions.get_version(session, reproduces["model"], str(reproduces["version"]))
        reproduction = compare_versions(VersionManifest.model_validate(version.manifest), again)
        lifecycle.finish_reproduction(session, job.id, job.attempt, reproduction.model_dump(mode="json"))

    lease.flush()
    lease.write_with_retry(finish)
    logger.info("version %s/%s trained once more", reproduces["model"], reproduces["version"])


def _load_initial_weights(yard: WorkerContext, version: Version, folder: Path) -> "InitialWeights":
    from worker.training.pretrained import InitialWeights

    weights = folder / "base.weights.h5"
    weights.write_bytes(yard.artifacts.read(versions.get_file(version, "model.weights.h5").sha256))
    return InitialWeights(pretrained.read_pretrained(version, yard.artifacts), weights)


def _publish(yard: WorkerContext, job: Job, manifest: VersionManifest, paths: list[Path], lease: Lease) -> int:
    document = manifest.model_dump(mode="json")
    while True:
        files = tracked_files.store(yard.sessions, yard.artifacts, paths)
        publish = partial(
            publishing.publish,
            job_id=job.id,
            attempt=job.attempt,
            model=job.model,
            manifest=document,
            files=files,
        )
        try:
            return lease.write_with_retry(publish)
        except FilesCollected as swept:
            logger.warning("file %s was swept before it was published, and is written once more", swept)
        except LeaseLost:
            lease.flush()  # a cancellation that came at the last moment is told apart here
            raise


def _make_signature(input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Signature:
    def tensor(name: str, shape: tuple[int, ...]) -> TensorSignature:
        return TensorSignature(name=name, dtype="float32", shape=(-1, *shape))

    return Signature(inputs=(tensor(INPUT_NAME, input_shape),), outputs=(tensor(OUTPUT_NAME, output_shape),))


def _make_lineage(job: Job, spec: TrainingSpec, dataset: splits.Dataset) -> Lineage:
    rows = splits.PartSizes(train=len(dataset.train), validation=len(dataset.validation), test=len(dataset.test))
    return Lineage(
        job=job.id,
        spec=job.spec,
        dataset=DatasetUsed(name=spec.dataset.name, digest=dataset.digest, rows=rows),
        seed=spec.training.seed,
        libraries=_list_library_versions(),
    )


def _list_library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu, not both
            continue
    return versions
