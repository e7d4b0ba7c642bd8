"""Run an import: build the network of a model file, run the samples, and publish it as a version."""

import base64
import logging
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.database.tables.jobs import Job
from shared.datasets.splits import PartSizes
from shared.errors import ImportDisagrees, InvalidRequest, NetworkDoesNotFit
from shared.inference.inputs import ImageInput, Input, NumbersInput, TextInput, preprocess_input
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.inference.samples import preprocess_samples
from shared.jobs import publishing
from shared.preprocessing.contract import Contract, ImageContract
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.text import TextContract
from shared.registry.imports import IMPORTED, build_import_contract, describe_import, find_import_loss
from shared.registry.manifest import DatasetUsed, Epochs, GoldenSample, Lineage, Metrics, VersionManifest
from shared.spec.model_import import ImportSpec
from shared.spec.training import Precision
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import Lease

if TYPE_CHECKING:
    import keras

# Modules that import TensorFlow are imported inside the functions: the parent process of the worker imports this file.

logger = logging.getLogger(__name__)

GENERATED_SAMPLES = 4
MAX_GENERATED_NUMBERS = 2**18
WORDS_PER_SAMPLE = 8
SEED = 0
WHITE = 255


@dataclass(frozen=True)
class _Samples:
    """Inputs as a client sends them, and as the network takes them, (n, *input_shape) float32."""

    golden: list[GoldenSample]
    rows: NDArray[np.float32]


def run_import_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Import a model, and end the job as succeeded in the transaction that publishes the version.

    Raises LeaseLost, JobCancelled, WorkerShutdown, TrainingFailure, ServiceError or OSError.
    """
    from worker.training.export import write_version

    spec = ImportSpec.model_validate(job.spec)
    contract = build_import_contract(spec.meaning, describe_import(spec.meaning, spec.network))
    network = _build_network(context, job, spec, contract, folder)
    lease.check()
    if isinstance(contract, TextContract):
        contract = _find_needs_word(network, contract)
    samples = _make_samples(spec, contract, context.decoder)
    outputs = network(samples.rows, training=False).numpy()
    _check_outputs(spec, _find_model_outputs(spec, network, samples.rows, outputs))
    manifest = _make_manifest(job, spec, contract, network)
    paths = write_version(network, manifest, samples.rows, samples.golden, folder)
    lease.flush()

    def publish(files: list[StoredFile]) -> int:
        return lease.write_with_retry(
            partial(
                publishing.publish,
                job_id=job.id,
                attempt=job.attempt,
                model=job.model,
                manifest=manifest.dump(),
                files=files,
            )
        )

    number = tracked_files.store_and_reference(context.sessions, context.artifacts, paths, publish)
    logger.info("version %s/%d imported", spec.model, number)


def _build_network(
    context: WorkerContext, job: Job, spec: ImportSpec, contract: Contract, folder: Path
) -> "keras.Model":
    """Build the network by our own reader, and set its weights. Raises NetworkDoesNotFit."""
    import keras

    from shared.networks.builder import build_network
    from shared.networks.objectives import find_appended_activation
    from worker.imports.weights import load_imported_weights

    assert job.weights_file is not None  # noqa: S101 - `create_import` sets it
    keras.utils.clear_session()
    try:
        appended = find_appended_activation(find_import_loss(spec.meaning, spec.network), spec.network)
        network = build_network(spec.network, contract.input_shape, spec.model, appended)
        load_imported_weights(network, spec.file, context.artifacts.get_local_path(job.weights_file, folder))
    except InvalidRequest as error:  # a fault that the API did not find
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults)
        raise NetworkDoesNotFit(f"{error.detail} {faults}") from error
    return network


def _find_needs_word(network: "keras.Model", contract: TextContract) -> TextContract:
    """Return the contract, which tells whether the network has no output for a text without a known word."""
    from worker.training.input.preparation import answers_empty_texts

    return contract.model_copy(update={"needs_word": not answers_empty_texts(network, contract)})


def _make_samples(spec: ImportSpec, contract: Contract, decoder: ImageDecoder) -> _Samples:
    """Return the samples of the request, or some that are drawn at random. Raises ImportDisagrees."""
    if spec.meaning.samples is None:
        count = min(GENERATED_SAMPLES, max(1, MAX_GENERATED_NUMBERS // math.prod(contract.input_shape)))
        inputs = [_draw_input(contract, number) for number in range(count)]
        rows = np.stack([preprocess_input(one, contract, decoder).values for one in inputs])
        return _Samples([_to_golden(one) for one in inputs], rows)
    try:
        inputs, rows = preprocess_samples(spec.meaning.samples.inputs, contract, decoder)
    except InvalidRequest as error:  # a text without a known word: only here it is known whether there must be one
        faults = "; ".join(fault.detail for fault in error.faults)
        raise ImportDisagrees(f"{error.detail} {faults}") from error
    return _Samples([_to_golden(one) for one in inputs], rows)


def _draw_input(contract: Contract, number: int) -> Input:
    """Draw an input at random: an image, a text of known words, or a row of numbers."""
    random = np.random.default_rng([SEED, number])
    name = f"sample {number}"
    if isinstance(contract, ImageContract):
        from worker.training.export import encode_png

        return ImageInput(name, encode_png(random.integers(0, WHITE, contract.input_shape, np.uint8)))
    if isinstance(contract, TextContract):
        return TextInput(name, " ".join(random.choice(contract.vocabulary, WORDS_PER_SAMPLE).tolist()))
    offset, divisor = np.asarray(contract.normalisation.offset), np.asarray(contract.normalisation.divisor)
    values = random.normal(size=contract.shape) * divisor + offset
    return NumbersInput(name, values.astype(np.float32).tolist())


def _to_golden(given: Input) -> GoldenSample:
    if isinstance(given, ImageInput):
        return GoldenSample(b64=base64.b64encode(given.data).decode(), outputs=())
    if isinstance(given, TextInput):
        return GoldenSample(text=given.text, outputs=())
    return GoldenSample(numbers=given.values if isinstance(given.values, list) else [given.values], outputs=())


def _find_model_outputs(
    spec: ImportSpec, network: "keras.Model", rows: NDArray[np.float32], outputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what the model itself answers: the outputs of the network, or the logits before its last activation."""
    import keras

    if not spec.meaning.from_logits:
        return outputs
    logits = keras.Model(network.input, network.layers[-1].input)
    return np.asarray(logits(rows, training=False))


def _check_outputs(spec: ImportSpec, outputs: NDArray[np.float32]) -> None:
    """Compare the outputs with those that were sent along. Raises ImportDisagrees."""
    if spec.meaning.samples is None:
        logger.warning("no samples were sent, so that nobody knows whether the preprocessing is right")
        return
    given = spec.meaning.samples.outputs
    expected = np.asarray([one if isinstance(one, list) else [one] for one in given], np.float32)
    if expected.shape != outputs.shape:
        raise ImportDisagrees(
            f"The outputs of the samples have the shape {list(expected.shape)}, and those of the network "
            f"{list(outputs.shape)}. Send what `model.predict` returns."
        )
    difference = compute_max_difference(outputs, expected)
    if not difference <= TOLERANCE:
        row = int(np.abs(outputs - expected).max(axis=1).argmax())
        raise ImportDisagrees(
            f"The outputs of the samples differ by {difference:.2g}, and the limit is {TOLERANCE:g}. For sample {row}, "
            f"{_show(expected[row])} was sent, and the network answers {_show(outputs[row])}. Check `preprocessing`"
            f"{', and that `outputs` are logits, not probabilities' if spec.meaning.from_logits else ''}."
        )
    logger.info("the outputs of %d samples differ by %.2g", len(outputs), difference)


def _show(values: NDArray[np.float32]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:5])
    return f"[{shown}{', …' if len(values) > 5 else ''}]"  # noqa: PLR2004 - as many are shown


def _make_manifest(job: Job, spec: ImportSpec, contract: Contract, network: "keras.Model") -> VersionManifest:
    from shared.networks.builder import describe_layers
    from worker.training.export import compute_weights_digest
    from worker.training.job import list_library_versions, make_signature

    info = describe_import(spec.meaning, spec.network)
    has_labels = spec.meaning.labels is not None
    imported = spec.model_dump(mode="json", by_alias=True, include={"model", "meaning"})
    imported["meaning"].pop("vocabulary", None)
    return VersionManifest(
        model=spec.model,
        classes=() if has_labels else info.classes,
        labels=info.classes if has_labels else (),
        preprocessing=contract,
        signature=make_signature(contract.input_shape, network.output_shape[1:]),
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        layers=describe_layers(network),
        metrics=Metrics(train={}, validation=None, test=None),
        epochs=Epochs(asked=0, trained=0, kept=0),
        precision=Precision.FLOAT32,
        weights_digest=compute_weights_digest(network),
        lineage=Lineage(
            job=job.id,
            spec={IMPORTED: imported},
            dataset=DatasetUsed(name=None, digest="", rows=PartSizes(train=0, validation=0, test=0)),
            seed=0,
            libraries=list_library_versions(),
        ),
    )
