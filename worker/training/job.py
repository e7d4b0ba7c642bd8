"""Run a training job: load its data, train, export, evaluate and publish."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from shared.database.tables.base import Document
from shared.database.tables.jobs import Job
from shared.database.tables.registry import Version
from shared.datasets import splits
from shared.jobs import lifecycle, publishing
from shared.jobs.lifecycle import LeaseLost
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry import pretrained, versions
from shared.registry.manifest import (
    INPUT_NAME,
    MANIFEST_FILE,
    OUTPUT_NAME,
    DatasetUsed,
    Lineage,
    ManifestFile,
    Signature,
    TensorSignature,
    VersionManifest,
)
from shared.registry.reproduction import compare_versions
from shared.spec.dataset import ValidationFolds
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import Lease
from worker.process.devices import choose_device
from worker.training.checkpoints.store import ArtifactCheckpointStore
from worker.training.input.spec_data import load_spec_dataset

if TYPE_CHECKING:
    from worker.training.pretrained import InitialWeights
    from worker.training.train import TrainingResult

# Modules that import TensorFlow are imported inside the functions: the parent process of the worker imports this file.

logger = logging.getLogger(__name__)

LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "scikit-learn", "tf2onnx")
"""The packages whose installed versions are stored in the lineage of a published version."""


@dataclass(frozen=True)
class _Inputs:
    """The inputs of a training job.

    Attributes:
        columns: names of the input columns of a table; empty for other data.
        initial: weights to start from; None for a new network.
    """

    dataset: splits.Dataset
    columns: tuple[str, ...]
    initial: "InitialWeights | None"


def run_training_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Train the network of a job and publish it, or compare it with the version that the job reproduces.

    A fold of a cross-validation is only measured.

    Raises LeaseLost, JobCancelled, WorkerShutdown, TrainingFailure, ServiceError or OSError.
    """
    from worker.training.context import TrainingContext
    from worker.training.tensorboard import zip_logs
    from worker.training.train import train

    spec = TrainingSpec.model_validate(job.spec)
    device = choose_device(spec.resources.device, context.count_gpus())
    inputs = _load_inputs(context, spec, folder)
    lease.check()
    store = ArtifactCheckpointStore(context.sessions, context.artifacts, job, folder, lease.flush_epochs)
    training = TrainingContext(
        device=device,
        monitor=lease,
        progress_seconds=context.progress_seconds,
        decoder=context.decoder,
        prepared_dir=context.cache_dir / "prepared",
        logs_dir=folder / "logs",
        store=store,
        checkpoint_policy=context.checkpoint_policy,
        weights_path=context.artifacts.get_local_path(job.weights_file, folder) if job.weights_file else None,
    )
    result = train(spec, inputs.dataset, training, inputs.initial)
    logger.info("trained %d of %d epochs, in %s", result.epochs.trained, result.epochs.asked, result.precision)
    manifest = _make_manifest(job, spec, inputs, result)
    if isinstance(spec.dataset.validation, ValidationFolds):
        _finish_fold(job, result, lease)
    elif job.reproduces is not None:
        _finish_reproduction(job, job.reproduces, manifest, lease)
    else:
        paths = [
            *_export(result, manifest, inputs.dataset, context.decoder, folder),
            *(_compute_baselines(context, inputs.dataset, lease, folder) if spec.baselines else ()),
            *zip_logs(training.logs_dir, folder),
        ]
        lease.flush()
        store_version = publishing.publish if spec.publish else publishing.store_candidate
        number = _publish(context, job, manifest, paths, lease, store_version)
        logger.info("version %s/%s stored", spec.model, number if number is not None else "candidate")
    store.delete_file()


def _load_inputs(context: WorkerContext, spec: TrainingSpec, folder: Path) -> _Inputs:
    with context.sessions() as session:
        version = pretrained.find_pretrained(session, spec.network)
    dataset, columns = load_spec_dataset(context, spec)
    logger.info(
        "%s: %d training rows, %d validation rows, %d test rows",
        spec.dataset.name or "the data in the spec",
        len(dataset.train),
        len(dataset.validation),
        len(dataset.test),
    )
    return _Inputs(dataset, columns, _load_initial_weights(context, version, folder))


def _make_manifest(job: Job, spec: TrainingSpec, inputs: _Inputs, result: "TrainingResult") -> VersionManifest:
    from shared.networks.builder import describe_layers
    from worker.training.evaluation import find_confidence_threshold
    from worker.training.export import compute_weights_digest

    network = result.network
    threshold = find_confidence_threshold(result.objective, *result.held_out) if result.held_out is not None else None
    return VersionManifest(
        model=spec.model,
        classes=result.objective.classes,
        labels=result.objective.labels,
        columns=inputs.columns,
        preprocessing=result.contract,
        signature=make_signature(result.contract.input_shape, network.output_shape[1:]),
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        layers=describe_layers(network),
        metrics=result.metrics,
        epochs=result.epochs,
        precision=result.precision,
        weights_digest=compute_weights_digest(network),
        confidence_threshold=threshold,
        lineage=_make_lineage(job, spec, inputs.dataset),
    )


def _export(
    result: "TrainingResult", manifest: VersionManifest, dataset: splits.Dataset, decoder: ImageDecoder, folder: Path
) -> list[Path]:
    """Write the files of the version and of its evaluation to `folder`. Returns their paths."""
    from worker.training.evaluation import write_evaluation
    from worker.training.export import export_version

    paths = export_version(result, manifest, dataset, decoder, folder)
    if result.test_outputs is not None and result.metrics.test is not None:
        paths += write_evaluation(
            result.objective, dataset.test.y, result.test_outputs, result.metrics.test, result.test_inputs, folder
        )
    return paths


def _compute_baselines(context: WorkerContext, dataset: splits.Dataset, lease: Lease, folder: Path) -> list[Path]:
    """Write the baselines of the version whose manifest is in `folder`. Returns the path of the file, if any."""
    from worker.training.baselines import write_baselines

    lease.flush()
    manifest = ManifestFile.model_validate_json((folder / MANIFEST_FILE).read_text())
    try:
        return write_baselines(context, manifest, dataset, lease.check, folder)
    except (ArithmeticError, MemoryError, ValueError):
        logger.exception("the version is published without baselines, which could not be computed")
        return []


def _finish_reproduction(job: Job, reproduces: Document, again: VersionManifest, lease: Lease) -> None:
    """Compare the new manifest `again` with the reproduced version, and end the job with the comparison."""

    def finish(session: Session) -> None:
        version = versions.get_described_version(session, reproduces["model"], str(reproduces["version"]))
        reproduction = compare_versions(VersionManifest.model_validate(version.manifest), again)
        lifecycle.finish_reproduction(session, job.id, job.attempt, reproduction.model_dump(mode="json"))

    lease.flush()
    lease.write_with_retry(finish)
    logger.info("version %s/%s reproduced", reproduces["model"], reproduces["version"])


def _finish_fold(job: Job, result: "TrainingResult", lease: Lease) -> None:
    metrics = result.metrics.model_dump(mode="json")
    lease.flush()
    lease.write_with_retry(partial(lifecycle.finish_fold, job_id=job.id, attempt=job.attempt, metrics=metrics))
    logger.info("this fold is measured; a cross-validation publishes no version")


def _load_initial_weights(context: WorkerContext, version: Version | None, folder: Path) -> "InitialWeights | None":
    from worker.training.pretrained import InitialWeights

    if version is None:
        return None
    path = folder / "base.weights.h5"
    path.write_bytes(context.artifacts.read(versions.get_file(version, "model.weights.h5").sha256))
    return InitialWeights(pretrained.read_pretrained(version, context.artifacts), path)


def _publish(
    context: WorkerContext,
    job: Job,
    manifest: VersionManifest,
    paths: list[Path],
    lease: Lease,
    store: Callable[..., int | None],
) -> int | None:
    """Store the version and end the job as succeeded, in one transaction. Returns what `store` returns.

    Raises LeaseLost, or JobCancelled if the job was cancelled in the meantime.
    """
    document = manifest.dump()

    def publish(files: list[StoredFile]) -> int | None:
        return lease.write_with_retry(
            partial(store, job_id=job.id, attempt=job.attempt, model=job.model, manifest=document, files=files)
        )

    try:
        return tracked_files.store_and_reference(context.sessions, context.artifacts, paths, publish)
    except LeaseLost:
        lease.flush()  # raises JobCancelled if a cancellation is the reason
        raise


def make_signature(input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Signature:
    """Return the signature of a network with these shapes, without the batch axis."""

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
        libraries=list_library_versions(),
    )


def list_library_versions() -> dict[str, str]:
    """Return the installed versions of LIBRARIES."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # only one of tensorflow and tensorflow-cpu is installed
            continue
    return versions
