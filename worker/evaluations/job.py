"""Run a job that evaluates a version on other rows than its test part."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.database.tables.jobs import Job
from shared.datasets import revisions, splits
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import DatasetDoesNotFit
from shared.jobs import publishing
from shared.registry import versions
from shared.registry.compatibility import convert_to_version
from shared.registry.further_evaluations import FurtherEvaluation, get_file_name
from shared.registry.imports import is_imported
from shared.registry.manifest import MANIFEST_FILE, ManifestFile
from shared.spec.dataset import DatasetSpec, ValidationSplit
from shared.spec.evaluation import EvaluationSpec
from shared.spec.training import LossSpec, TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import Lease
from worker.training.input.spec_data import load_data, load_spec_dataset

if TYPE_CHECKING:
    import keras

    from shared.networks.objectives import Objective

# Modules that import TensorFlow are imported inside the functions: the parent process of the worker imports this file.

logger = logging.getLogger(__name__)

BATCH_SIZE = 256
SEED = 0
"""It decides nothing: no row is drawn."""


def run_evaluation_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Evaluate a version, and end the job as succeeded in the transaction that adds the file to the version.

    Raises LeaseLost, JobCancelled, WorkerShutdown, TrainingFailure, ServiceError or OSError.
    """
    from worker.training.evaluation import make_report
    from worker.training.measuring import measure_outputs
    from worker.training.stored_network import load_network

    spec = EvaluationSpec.model_validate(job.spec)
    with context.sessions() as session:
        version = versions.get_version(session, spec.model, str(spec.version))
    manifest = ManifestFile.model_validate_json(
        context.artifacts.read(versions.get_file(version, MANIFEST_FILE).sha256)
    )
    dataset = _load_dataset(context, spec, manifest)
    parts = _choose_parts(spec, dataset)
    network = load_network(version, manifest, context.artifacts, folder)
    objective = _compile(network, manifest)
    lease.check()
    labels = [convert_to_version(part.y, dataset.info, manifest) for part in parts]
    outputs = [_predict(network, part, manifest, dataset, context, lease) for part in parts]
    y, answers = np.concatenate(labels), np.concatenate(outputs)
    metrics = measure_outputs(network, objective.encode_labels(y), answers)
    report = make_report(objective, y, answers, metrics)
    found = FurtherEvaluation(dataset=spec.dataset, part=spec.part, digest=dataset.digest, evaluation=report)
    path = folder / get_file_name(spec.key)
    path.write_text(found.model_dump_json())
    logger.info("evaluated %s/%d on %d rows of %s", spec.model, spec.version, report.rows, spec.key)
    lease.flush()

    def add(files: list[StoredFile]) -> None:
        (file,) = files
        lease.write_with_retry(
            partial(publishing.add_file, job_id=job.id, attempt=job.attempt, version_id=version.id, file=file)
        )

    tracked_files.store_and_reference(context.sessions, context.artifacts, [path], add)


def _load_dataset(context: WorkerContext, spec: EvaluationSpec, manifest: ManifestFile) -> splits.Dataset:
    """Load the data of the training with its own split, or another data set as a whole."""
    if spec.dataset is None:
        return load_spec_dataset(context, TrainingSpec.model_validate(manifest.lineage.spec))[0]
    whole = DatasetSpec(name=spec.dataset, validation=ValidationSplit(split=0.0))
    with context.sessions() as session:
        revision = revisions.find_spec_revision(session, whole)
    if revision is not None and revisions.to_dataset_info(revision).validation_rows:
        whole = DatasetSpec(name=spec.dataset, validation="part")
    return load_data(context, whole, SEED)[0]


def _choose_parts(spec: EvaluationSpec, dataset: splits.Dataset) -> list[splits.Part]:
    """Return the parts with rows. Raises DatasetDoesNotFit if there is none."""
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    chosen = [part for name, part in parts.items() if spec.part in (name, "all") and len(part)]
    if not chosen:
        raise DatasetDoesNotFit(f"The data has no {spec.part} rows. Choose another `part`.")
    return chosen


def _compile(network: "keras.Model", manifest: ManifestFile) -> "Objective":
    """Give the network the loss and the metrics of its training; for an imported one those that fit its outputs."""
    from shared.networks.metrics import make_metrics
    from shared.networks.objectives import choose_objective
    from shared.spec.network import NetworkSpec

    targets = TargetKind.CLASSES if manifest.classes else TargetKind.NUMBERS
    info = DatasetInfo(
        manifest.preprocessing.input_shape,
        images=False,
        targets=TargetKind.MULTI_LABEL if manifest.labels else targets,
        train_rows=1,
        test_rows=0,
        classes=manifest.classes or manifest.labels,
        target_width=manifest.signature.outputs[0].shape[-1] if not manifest.classes else 1,
    )
    loss: Any = None if manifest.classes or manifest.labels else "mse"
    metrics = None
    if not is_imported(manifest):
        options = TrainingSpec.model_validate(manifest.lineage.spec).training
        # `from_logits`: the network has its activation by now
        loss = options.loss.name if isinstance(options.loss, LossSpec) else options.loss
        metrics = options.metrics
    declared = NetworkSpec.model_construct(layers=None, keras=manifest.architecture, from_=None, freeze=())
    objective = choose_objective(loss, info, declared, manifest.signature.outputs[0].shape[1:])
    network.compile(loss=objective.make_loss(), metrics=make_metrics(metrics, objective))
    return objective


def _predict(
    network: "keras.Model",
    part: splits.Part,
    manifest: ManifestFile,
    dataset: splits.Dataset,
    context: WorkerContext,
    lease: Lease,
) -> NDArray[np.float32]:
    """Return the outputs for the rows of a part, (n, width)."""
    import keras

    from worker.training.input.pipeline import make_ordered_batches
    from worker.training.input.preparation import prepare_rows
    from worker.training.measuring import predict_as_served

    folder = context.cache_dir / "prepared"
    x = prepare_rows(part.x, manifest.preprocessing, dataset.digest, context.decoder, folder, lease.check)
    batches = make_ordered_batches(x, np.zeros(len(part)), manifest.preprocessing.normalisation, BATCH_SIZE)
    check = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda *_, **__: lease.check())
    return predict_as_served(network, batches, manifest.preprocessing, check)
