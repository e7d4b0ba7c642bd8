"""Run an export: load the network of a version, write it in another format, prove the file, and add it."""

import logging
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.database.tables.jobs import Job
from shared.database.tables.registry import Version
from shared.errors import ExportDisagrees, ExportNotPossible, TrainingFailure
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.jobs import publishing
from shared.registry import versions
from shared.registry.exports import ExportResult
from shared.registry.manifest import MANIFEST_FILE, ONNX_FILE, ManifestFile
from shared.spec.export import FILE_NAMES, ExportFormat, ExportSpec
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import Lease
from worker.training.input.spec_data import load_spec_dataset

if TYPE_CHECKING:
    from worker.exports.formats import ExportSource

# Modules that import TensorFlow are imported inside the functions: the parent process of the worker imports this file.

logger = logging.getLogger(__name__)

MAX_CALIBRATION_ROWS = 200
MAX_TEST_ROWS = 10_000
MAX_REASON = 300
REFUSALS = (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""Exceptions of the libraries of the formats for a network that they cannot write or compute."""


def run_export_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Export a version, and end the job as succeeded in the transaction that adds the file to the version.

    Raises LeaseLost, JobCancelled, WorkerShutdown, TrainingFailure, ServiceError or OSError.
    """
    spec = ExportSpec.model_validate(job.spec)
    with context.sessions() as session:
        version = versions.get_version(session, spec.model, str(spec.version))
    source = _load_source(context, version, folder)
    lease.check()
    result = _export(context, spec.format, source, lease)
    logger.info("exported %s/%d as %s, which differs by %.2g", spec.model, spec.version, spec.format, result.difference)
    lease.flush()

    def add(files: list[StoredFile]) -> None:
        (file,) = files
        lease.write_with_retry(
            partial(
                publishing.add_file,
                job_id=job.id,
                attempt=job.attempt,
                version_id=version.id,
                file=file,
                result=result.model_dump(mode="json"),
            )
        )

    path = source.get_path(spec.format)
    tracked_files.store_and_reference(context.sessions, context.artifacts, [path], add)


def _load_source(context: WorkerContext, version: Version, folder: Path) -> "ExportSource":
    """Load the network of a version by our own reader, and its golden samples. Raises ServiceError."""
    from worker.exports.formats import ExportSource
    from worker.exports.samples import read_golden_inputs
    from worker.training.stored_network import load_network

    def fetch(name: str) -> Path:
        path = folder / name
        path.write_bytes(context.artifacts.read(versions.get_file(version, name).sha256))
        return path

    manifest = ManifestFile.model_validate_json(fetch(MANIFEST_FILE).read_text())
    network = load_network(version, manifest, context.artifacts, folder)
    exports = folder / "exports"
    exports.mkdir()
    inputs, raw = read_golden_inputs(manifest, context.decoder)
    return ExportSource(network, manifest, versions.get_number(version), fetch(ONNX_FILE), exports, inputs, raw)


def _export(context: WorkerContext, export_format: ExportFormat, source: "ExportSource", lease: Lease) -> ExportResult:
    """Write the file, and check or measure it. Raises TrainingFailure."""
    from worker.exports.formats import EXACT_FORMATS
    from worker.exports.lite import LiteRuntime
    from worker.exports.samples import compare_on_test_part
    from worker.training.input.version_data import prepare_version_data

    expected = np.asarray([sample.outputs for sample in source.manifest.golden_samples], np.float32)
    file = FILE_NAMES[export_format]
    if export_format is ExportFormat.TFLITE_INT8:
        dataset, _ = load_spec_dataset(context, TrainingSpec.model_validate(source.manifest.lineage.spec))
        data = prepare_version_data(
            context, source.manifest, dataset, lease.check, max_train=MAX_CALIBRATION_ROWS, max_test=MAX_TEST_ROWS
        )
        with closing(LiteRuntime()) as lite:
            path = lite.write(source, data.train)
            difference = compute_max_difference(lite.run(path, source.inputs), expected)
            lease.check()
            test = compare_on_test_part(data, source.network, partial(lite.run, path))
        return ExportResult(format=export_format, file=file, difference=difference, test=test)
    if export_format is ExportFormat.TFLITE:
        with closing(LiteRuntime()) as lite:
            answers = lite.run(lite.write(source), source.inputs)
    else:
        try:
            answers = EXACT_FORMATS[export_format](source)
        except REFUSALS as refusal:
            logger.exception("the network could not be written as %s", export_format)
            reason = str(refusal).strip().splitlines()[-1:] or [type(refusal).__name__]
            raise ExportNotPossible(
                f"The network cannot be written as {file}: {reason[0][:MAX_REASON].rstrip('. ')}. Export it to another "
                "format, such as `triton`."
            ) from refusal
    difference = compute_max_difference(answers, expected)
    limit = max(TOLERANCE, source.manifest.tolerance or 0)
    if difference > limit:
        raise _refuse(file, difference, limit)
    return ExportResult(format=export_format, file=file, difference=difference)


def _refuse(file: str, difference: float, limit: float) -> TrainingFailure:
    return ExportDisagrees(
        f"The outputs of {file} and of Keras differ by {difference:.2g}, and the limit is {limit:.2g}. The file was "
        "not added. Export the version to another format, or replace unusual layers."
    )
