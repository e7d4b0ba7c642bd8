"""Trains one network as a spec says. Knows Keras; of queues and databases it knows nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import config as tensorflow_config

from shared.datasets.row_files import MappedRows
from shared.datasets.splits import Dataset
from shared.errors import InvalidRequest, NetworkDoesNotFit, OutOfMemory
from shared.networks.arguments import extract_keras_message
from shared.networks.builder import build_network
from shared.networks.objectives import Objective, choose_metrics, choose_objective
from shared.networks.optimizers import make_optimizer
from shared.preprocessing.contract import ImageContract, NumbersContract, build_contract, fit_polarity, fit_statistics
from shared.registry.manifest import Epochs, Metrics
from shared.spec.training import Precision, TrainingSpec
from worker.training.checkpoints import CheckpointManager
from worker.training.context import TrainingContext
from worker.training.fit import MAX_FUSED_STEP_COST, PreparedPart, fit
from worker.training.image_cache import load_prepared
from worker.training.input_pipeline import count_steps
from worker.training.memory_check import check_memory, get_available_bytes
from worker.training.precision import choose_precision
from worker.training.pretrained import InitialWeights, load_initial_weights

MAX_STEPS_PER_EXECUTION = 32
"""Between two looks whether to stop."""


@dataclass(frozen=True)
class TrainingResult:
    """A network with the weights to publish, and the contract its inputs must keep.

    `precision` is that of the training, never `auto`; `test_outputs` is (n, width), what the network answered to the
    test part, None where there is none, and `test_images` (n, height, width, channels) uint8 what it was shown.
    """

    network: keras.Model
    contract: ImageContract | NumbersContract
    objective: Objective
    metrics: Metrics
    epochs: Epochs
    precision: Precision
    test_outputs: NDArray[np.float32] | None
    test_images: NDArray[Any] | MappedRows | None


def train(
    spec: TrainingSpec, dataset: Dataset, context: TrainingContext, start: InitialWeights | None = None
) -> TrainingResult:
    """Raises TrainingFailure, or whatever the watch raises to end it."""
    training = spec.training
    keras.utils.clear_session()
    keras.utils.set_random_seed(training.seed)
    with _translate_keras_errors(), _use_determinism(wanted=training.deterministic), tf.device(context.device):
        parts, contract = _prepare_parts(spec, dataset, context, start)
        declared = start.base.adapt_network(dataset.info, spec.network.freeze) if start is not None else spec.network
        network = build_network(declared, contract.input_shape, spec.model)
        objective = choose_objective(training.loss, dataset.info, declared, network.output_shape[1:])
        if context.device == "/CPU:0":
            check_memory(network, min(training.batch_size, len(parts[0])), get_available_bytes())
        if start is not None:
            load_initial_weights(network, start)
        checkpoints = CheckpointManager(context.store, context.logs_dir)
        precision = checkpoints.state.precision or choose_precision(
            training.precision, network, training.batch_size, context.device
        )
        checkpoints.state.precision = precision
        optimizer = make_optimizer(training, training.epochs * count_steps(len(parts[0]), training.batch_size))
        if precision is Precision.MIXED_FLOAT16:  # its smallest numbers are too large for a gradient
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        network.compile(
            optimizer=optimizer,
            loss=objective.loss,
            metrics=choose_metrics(training.metrics, objective),
            steps_per_execution=_choose_steps_per_execution(
                network, training.batch_size, count_steps(len(parts[0]), training.batch_size)
            ),
        )
        network.optimizer.build(network.trainable_variables)  # or else the first step is traced twice
        checkpoints.restore(network)
        metrics, epochs, outputs = fit(network, parts, contract, objective, spec, precision, context, checkpoints)
    images = parts[2].x if isinstance(contract, ImageContract) else None
    return TrainingResult(network, contract, objective, metrics, epochs, precision, outputs, images)


def _choose_steps_per_execution(network: keras.Model, batch_size: int, steps_per_epoch: int) -> int:
    """Steps of a few microseconds are run many in a row: going back to Python after each would take far longer.

    A divisor of the steps of an epoch, for Keras would overrun the epoch's end by the rest.
    """
    if network.count_params() * batch_size > MAX_FUSED_STEP_COST:
        return 1
    return max(count for count in range(1, MAX_STEPS_PER_EXECUTION + 1) if steps_per_epoch % count == 0)


def _prepare_parts(
    spec: TrainingSpec, dataset: Dataset, context: TrainingContext, start: InitialWeights | None
) -> tuple[list[PreparedPart], ImageContract | NumbersContract]:
    """Train, validation and test, images resized once, and the contract with the statistics it is to keep."""
    if start is None:
        contract = build_contract(spec.preprocessing, dataset.info)
    else:
        contract = start.base.adapt_contract(spec.preprocessing, dataset.info)
    parts = [
        PreparedPart(
            load_prepared(part.x, contract, dataset.digest, context.prepared_dir, context.monitor.check), part.y
        )
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    contract = fit_polarity(contract, parts[0].x)
    if start is not None and contract.scale is start.base.contract.scale:
        return parts, contract
    return parts, fit_statistics(contract, parts[0].x)


@contextmanager
def _use_determinism(*, wanted: bool) -> Iterator[None]:
    """TensorFlow switches it on for the process, which trains other jobs afterwards: so it is switched off again."""
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
    """What TensorFlow and Keras raise when spec and data do not go together, as what the owner can change."""
    try:
        yield
    except InvalidRequest as error:  # what the API could not know, such as the width of an uploaded set
        indices = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults)
        raise NetworkDoesNotFit(f"{error.detail} {indices}") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemory(
            f"The memory did not suffice ({extract_keras_message(error).splitlines()[0]}): lower batch_size, "
            "or build with fewer parameters or smaller layer outputs."
        ) from error
    except (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        raise NetworkDoesNotFit(
            f"Network, labels and data do not go together: {extract_keras_message(error)}"
        ) from error
