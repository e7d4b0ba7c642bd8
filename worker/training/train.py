"""Train the network of a spec. This module uses Keras, but neither the queue nor the database."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import config as tensorflow_config

from shared.datasets.row_files import MappedRows, TextRows
from shared.datasets.splits import Dataset
from shared.errors import DatasetDoesNotFit, InvalidRequest, NetworkDoesNotFit, OutOfMemory
from shared.networks.arguments import extract_keras_message
from shared.networks.builder import build_network, describe_weights
from shared.networks.initial_weights import read_initial_weights
from shared.networks.metrics import make_metrics
from shared.networks.objectives import Objective, choose_objective, find_appended_activation
from shared.networks.optimizers import make_optimizer
from shared.networks.weights_file import read_weights_file
from shared.preprocessing.contract import Contract, build_contract, fit_polarity, fit_statistics
from shared.preprocessing.text import TextContract, fit_vocabulary
from shared.registry.manifest import Epochs, Metrics
from shared.spec.training import Precision, TrainingOptions, TrainingSpec
from worker.process.memory import get_available_bytes
from worker.training.checkpoints.manager import CheckpointManager
from worker.training.context import TrainingContext
from worker.training.fit import fit
from worker.training.input.pipeline import count_steps
from worker.training.input.preparation import answers_empty_texts, prepare_rows
from worker.training.memory_check import check_memory
from worker.training.precision import choose_precision, is_worth_a_trial, try_precisions
from worker.training.pretrained import InitialWeights, load_initial_weights
from worker.training.run import PreparedPart, TrainingRun, take_first_batch
from worker.training.whitening import has_whitening, whiten

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A trained network with the weights to publish.

    Attributes:
        contract: the preprocessing of the network's inputs.
        precision: the precision of the training, never `auto`.
        test_outputs: (n, width) float32, the predictions for the test part; None without test rows.
        held_out: labels and outputs of validation rows, else of test rows; None without such rows.
        test_inputs: the test part before normalisation, (n, height, width, channels) uint8 or (n, *shape) float32;
            the texts themselves.
    """

    network: keras.Model
    contract: Contract
    objective: Objective
    metrics: Metrics
    epochs: Epochs
    precision: Precision
    test_outputs: NDArray[np.float32] | None
    held_out: tuple[NDArray[Any], NDArray[np.float32]] | None
    test_inputs: NDArray[Any] | MappedRows | TextRows


def train(
    spec: TrainingSpec, dataset: Dataset, context: TrainingContext, initial: InitialWeights | None = None
) -> TrainingResult:
    """Train the network of a spec. `initial` are the weights of the version to start from; None for a new network.

    Raises TrainingFailure, or the exceptions of the monitor.
    """
    options = spec.training
    keras.utils.clear_session()
    keras.utils.set_random_seed(options.seed)
    with _translate_keras_errors(), _use_determinism(wanted=options.deterministic), tf.device(context.device):
        run = _make_run(spec, dataset, context, initial)
        summary = fit(run)
    return TrainingResult(
        network=run.network,
        contract=run.contract,
        objective=run.objective,
        metrics=summary.metrics,
        epochs=summary.epochs,
        precision=run.precision,
        test_outputs=summary.test_outputs,
        held_out=summary.held_out,
        test_inputs=dataset.test.x if isinstance(dataset.test.x, TextRows) else run.test.x,
    )


def _make_run(
    spec: TrainingSpec, dataset: Dataset, context: TrainingContext, initial: InitialWeights | None
) -> TrainingRun:
    """Prepare the data, build and compile the network, and restore the newest checkpoint."""
    options = spec.training
    parts, contract = _prepare_parts(spec, dataset, context, initial)
    declared = initial.version.adapt_network(dataset.info, spec.network.freeze) if initial is not None else spec.network
    appended = find_appended_activation(options.loss, declared)
    network = build_network(declared, contract.input_shape, spec.model, appended)
    objective = choose_objective(options.loss, dataset.info, declared, network.output_shape[1:])
    if isinstance(contract, TextContract):
        contract = _check_empty_texts(network, contract, parts)
    if context.device == "/CPU:0":
        check_memory(network, min(options.batch_size, len(parts[0])), get_available_bytes())
    if initial is not None:
        load_initial_weights(network, initial)
    elif declared.initial_weights is not None:
        network.set_weights(read_initial_weights(declared.initial_weights, describe_weights(network)))
    elif context.weights_path is not None:
        network.set_weights(read_weights_file(context.weights_path, describe_weights(network)))
    elif has_whitening(declared):
        whiten(network, parts[0].x, contract.normalisation)
    checkpoints = CheckpointManager(context.store, context.logs_dir, context.checkpoint_policy)
    wanted = checkpoints.state.precision or options.precision
    precision = choose_precision(wanted, network, options.batch_size, context.device)
    _compile(network, objective, options, precision, options.epochs * count_steps(len(parts[0]), options.batch_size))
    run = TrainingRun(network, *parts, contract, objective, spec, precision, context, checkpoints)
    is_open = wanted is Precision.AUTO and precision is Precision.MIXED_BFLOAT16 and not options.deterministic
    if is_open and is_worth_a_trial(network, options.epochs * len(run.train)):
        run = replace(run, precision=try_precisions(network, take_first_batch(run), context.device))
    checkpoints.state.precision = run.precision
    checkpoints.restore(network)
    return run


def _compile(
    network: keras.Model, objective: Objective, options: TrainingOptions, precision: Precision, steps: int
) -> None:
    optimizer = make_optimizer(options, steps)
    if precision is Precision.MIXED_FLOAT16:  # small gradients would be 0 in float16
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    network.compile(
        optimizer=optimizer,
        loss=objective.make_loss(),
        metrics=make_metrics(options.metrics, objective),
    )
    network.optimizer.build(network.trainable_variables)  # otherwise Keras traces the first step twice


def _prepare_parts(
    spec: TrainingSpec, dataset: Dataset, context: TrainingContext, initial: InitialWeights | None
) -> tuple[tuple[PreparedPart, PreparedPart, PreparedPart], Contract]:
    """Return the three parts with resized images, and the contract with what the training part determines.

    That are the statistics of numbers, and the vocabulary of texts.
    """
    if initial is None:
        contract = build_contract(spec.preprocessing, dataset.info)
        if isinstance(contract, TextContract):
            contract = _fit_vocabulary(contract, dataset)
    else:
        contract = initial.version.adapt_contract(spec.preprocessing, dataset.info)
    train, validation, test = (
        PreparedPart(
            prepare_rows(part.x, contract, digest, context.decoder, context.prepared_dir, context.monitor.check),
            part.y,
            part.weights,
        )
        for part, digest in (
            (dataset.train, dataset.digest),
            (dataset.validation, dataset.validation_digest),
            (dataset.test, dataset.digest),
        )
    )
    contract = fit_polarity(contract, train.x)
    if initial is None or contract.scale is not initial.version.contract.scale:
        contract = fit_statistics(contract, train.x)
    return (train, validation, test), contract


def _fit_vocabulary(contract: TextContract, dataset: Dataset) -> TextContract:
    """Return the contract with the words of the training part. Raises DatasetDoesNotFit if there is none."""
    assert isinstance(dataset.train.x, TextRows)  # noqa: S101 - the contract is for texts
    fitted = fit_vocabulary(contract, dataset.train.x)
    if not fitted.vocabulary:
        raise DatasetDoesNotFit(
            f"The {len(dataset.train):,} training texts have no word. Use texts with words, or `tokenizer: characters`."
        )
    logger.info("the vocabulary has %d words of %d training texts", len(fitted.vocabulary), len(dataset.train))
    return fitted


def _check_empty_texts(network: keras.Model, contract: TextContract, parts: Sequence[PreparedPart]) -> TextContract:
    """Return the contract, which tells whether the network needs a word. Raises NetworkDoesNotFit for texts without.

    An average over the words of a text, with `mask_zero`, is not a number if there is none.
    """
    if answers_empty_texts(network, contract):
        return contract
    empty = sum(int((~_find_words(part.x)).sum()) for part in parts)
    if empty:
        raise NetworkDoesNotFit(
            f"{empty:,} texts have no word of the vocabulary, and the network averages over the words of a text. Use "
            "`mask_zero: false` in the Embedding, `unknown: token` in `preprocessing.text`, or remove these texts."
        )
    return contract.model_copy(update={"needs_word": True})


def _find_words(x: NDArray[Any] | MappedRows) -> NDArray[np.bool_]:
    """Return whether each row of indices has a word, (n,)."""
    if isinstance(x, MappedRows):
        return np.concatenate([chunk.any(axis=1) for chunk in x.iterate_chunks()])
    return np.asarray(x.any(axis=1))


@contextmanager
def _use_determinism(*, wanted: bool) -> Iterator[None]:
    """Use deterministic operations inside a `with` block, if wanted.

    The setting is global in TensorFlow, and this process trains other jobs later.
    """
    if not wanted:
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        tensorflow_config.disable_op_determinism()


@contextmanager
def _translate_keras_errors() -> Iterator[None]:
    """Translate errors of TensorFlow and Keras inside a `with` block into failures that name a remedy.

    Raises NetworkDoesNotFit or OutOfMemory.
    """
    try:
        yield
    except InvalidRequest as error:  # a fault that the API did not find
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults)
        raise NetworkDoesNotFit(f"{error.detail} {faults}") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemory(
            f"The memory is too small ({extract_keras_message(error).splitlines()[0]}). Decrease `batch_size`, "
            "or use a network with fewer parameters or smaller layer outputs."
        ) from error
    except (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        raise NetworkDoesNotFit(
            f"The network, the labels and the data do not fit together: {extract_keras_message(error)}"
        ) from error
