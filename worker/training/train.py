"""Trains one network as a spec says. Knows Keras; of queues and databases it knows nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import config as tensorflow_config

from shared.datasets.row_files import MappedRows
from shared.datasets.splits import Dataset
from shared.errors import InvalidRequest, NetworkDoesNotFit, OutOfMemory
from shared.networks.augmentation import augmentation_layers
from shared.networks.builder import build, keras_message
from shared.networks.objectives import Objective, choose_objective, chosen_metrics
from shared.networks.optimizers import make_optimizer
from shared.preprocessing.contract import ImageContract, NumbersContract, contract_of, standardized, with_ground
from shared.registry.manifest import Epochs, Metrics
from shared.spec.training import Precision, Training, TrainingSpec
from worker.training.callbacks import Reporter, TimeLimit, Watch, finite
from worker.training.checkpoints import Checkpointer, Checkpoints, Forgetful, Keeper, Position, skipping
from worker.training.fused_fit import MOST_BYTES, fit_light
from worker.training.image_cache import prepared
from worker.training.input_pipeline import batches_in_order, shuffled_batches, steps
from worker.training.memory_check import FLOAT_BYTES, available_bytes, check_memory
from worker.training.precision import choose_precision, computed_in
from worker.training.pretrained import Start, take_weights
from worker.training.tensorboard import tensorboard_callbacks

SMALLEST_EVALUATION_BATCH = 256
LIGHT_STEP = 300_000
"""Parameters × rows: what one processor does in well under a millisecond."""
MOST_STEPS_AT_ONCE = 32
"""Between two looks whether to stop."""


@dataclass(frozen=True)
class Workplace:
    """Where a network is trained, and who looks on.

    `device` is TensorFlow's name of it; in `prepared_dir` stay images that were decoded or resized, and `logs_dir`
    takes what TensorBoard is to show. Checkpoints go to the `keeper`, and come from it.
    """

    device: str
    watch: Watch
    progress_seconds: float
    prepared_dir: Path
    logs_dir: Path
    keeper: Keeper = field(default_factory=Forgetful)


@dataclass(frozen=True)
class Trained:
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


@dataclass(frozen=True)
class _Rows:
    """A part whose x the network can take, but for the normalisation."""

    x: NDArray[Any] | MappedRows
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)


def train(spec: TrainingSpec, dataset: Dataset, place: Workplace, start: Start | None = None) -> Trained:
    """Raises TrainingFailure, or whatever the watch raises to end it."""
    training = spec.training
    keras.utils.clear_session()
    keras.utils.set_random_seed(training.seed)
    with _keras_failures(), _determinism(wanted=training.deterministic), tf.device(place.device):
        parts, contract = _prepared(spec, dataset, place, start)
        declared = start.base.network(dataset.facts, spec.network.freeze) if start is not None else spec.network
        network = build(declared, contract.input_shape, spec.model)
        objective = choose_objective(training.loss, dataset.facts, declared, network.output_shape[1:])
        if place.device == "/CPU:0":
            check_memory(network, min(training.batch_size, len(parts[0])), available_bytes())
        if start is not None:
            take_weights(network, start)
        checkpoints = Checkpoints(place.keeper, place.logs_dir)
        precision = checkpoints.position.precision or choose_precision(
            training.precision, network, training.batch_size, place.device
        )
        checkpoints.position.precision = precision
        optimizer = make_optimizer(training, training.epochs * steps(len(parts[0]), training.batch_size))
        if precision is Precision.MIXED_FLOAT16:  # its smallest numbers are too large for a gradient
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        network.compile(
            optimizer=optimizer,
            loss=objective.loss,
            metrics=chosen_metrics(training.metrics, objective),
            steps_per_execution=_steps_at_once(network, training.batch_size, steps(len(parts[0]), training.batch_size)),
        )
        network.optimizer.build(network.trainable_variables)  # or else the first step is traced twice
        checkpoints.restore(network)
        metrics, epochs, outputs = _fit(network, parts, contract, objective, spec, precision, place, checkpoints)
    images = parts[2].x if isinstance(contract, ImageContract) else None
    return Trained(network, contract, objective, metrics, epochs, precision, outputs, images)


def _steps_at_once(network: keras.Model, batch_size: int, steps_per_epoch: int) -> int:
    """Steps of a few microseconds are run many in a row: going back to Python after each would take far longer.

    A divisor of the steps of an epoch, for Keras would overrun the epoch's end by the rest.
    """
    if network.count_params() * batch_size > LIGHT_STEP:
        return 1
    return max(count for count in range(1, MOST_STEPS_AT_ONCE + 1) if steps_per_epoch % count == 0)


def _prepared(
    spec: TrainingSpec, dataset: Dataset, place: Workplace, start: Start | None
) -> tuple[list[_Rows], ImageContract | NumbersContract]:
    """Train, validation and test, images resized once, and the contract with the statistics it is to keep."""
    if start is None:
        contract = contract_of(spec.preprocessing, dataset.facts)
    else:
        contract = start.base.contract_for(spec.preprocessing, dataset.facts)
    parts = [
        _Rows(prepared(part.x, contract, dataset.digest, place.prepared_dir, place.watch.check), part.y)
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    contract = with_ground(contract, parts[0].x)
    if start is not None and contract.scale is start.base.contract.scale:
        return parts, contract
    return parts, standardized(contract, parts[0].x)


def _fit(
    network: keras.Model,
    parts: list[_Rows],
    contract: ImageContract | NumbersContract,
    objective: Objective,
    spec: TrainingSpec,
    precision: Precision,
    place: Workplace,
    checkpoints: Checkpoints,
) -> tuple[Metrics, Epochs, NDArray[np.float32] | None]:
    training = spec.training
    train_part, validation_part, test_part = parts
    batches = steps(len(train_part), training.batch_size)
    position = checkpoints.position
    done = position.epoch, position.batch
    reporter = Reporter(
        place.watch, training.epochs, batches, place.progress_seconds, position.epoch * batches + position.batch
    )
    limit = spec.resources.max_minutes
    limits = [TimeLimit(limit, position.seconds)] if limit is not None else []
    stopping, keeping = _stopping(training), _keeping(training)
    checkpointer = Checkpointer(checkpoints, [*stopping, *keeping], place.watch)
    evaluation_batch = max(training.batch_size, SMALLEST_EVALUATION_BATCH)
    columns = [objective.labels(train_part.y)]
    if training.class_weight is not None:
        columns.append(objective.weights(train_part.y, training.class_weight))

    def in_order(part: _Rows) -> tf.data.Dataset | None:
        labels = objective.labels(part.y)
        return batches_in_order(part.x, labels, contract.normalisation, evaluation_batch) if len(part) else None

    if precision is Precision.FLOAT32 and _is_light(network, train_part, spec):
        _fit_in_one(
            network, columns, parts, contract, objective, spec, [reporter, *limits], place, checkpoints, checkpointer
        )
    else:
        batches_of_all_epochs = shuffled_batches(
            train_part.x,
            columns,
            contract.normalisation,
            training.batch_size,
            training.seed,
            training.epochs,
            augmentation_layers(spec.augmentation, contract),
            done,
        )
        if position.batch:  # Keras would make the metrics at the first step, when there is nothing more to restore
            nothing = np.zeros((1, *network.output_shape[1:]), np.float32)
            _measured(network, objective.labels(train_part.y[:1]), nothing)
        with computed_in(network, precision), _skipped(network, position):
            network.fit(
                batches_of_all_epochs,
                initial_epoch=training.epochs if position.finished else position.epoch,
                epochs=training.epochs,
                steps_per_epoch=batches,
                validation_data=in_order(validation_part),
                callbacks=[
                    reporter,
                    *limits,
                    *stopping,
                    *keeping,
                    *tensorboard_callbacks(network, training.tensorboard, place.logs_dir),
                    checkpointer,
                ],
                shuffle=False,  # the stream is shuffled already
                verbose=0,
            )
    history = position.history
    trained = position.epoch
    keepers = [callback for callback in (*stopping, *keeping) if callback.restore_best_weights]
    kept = keepers[-1].best_epoch if keepers else trained - 1
    values = finite({name: values[kept] for name, values in history.items()})
    test = in_order(test_part)
    outputs = network.predict(test, callbacks=[reporter], verbose=0) if test is not None else None
    metrics = Metrics(
        train={name: value for name, value in values.items() if not name.startswith("val_")},
        validation={name.removeprefix("val_"): values[name] for name in values if name.startswith("val_")} or None,
        test=_measured(network, objective.labels(test_part.y), outputs) if outputs is not None else None,
    )
    return metrics, Epochs(asked=training.epochs, trained=trained, kept=kept + 1), outputs


@contextmanager
def _skipped(network: keras.Model, position: Position) -> Iterator[None]:
    """The first epoch goes on in the middle, where a checkpoint was written there."""
    network.make_train_function()
    whole = network.train_function
    if position.batch:
        network.train_function = skipping(whole, position.batch // network.steps_per_execution, position.batch_logs)
    try:
        yield
    finally:
        network.train_function = whole


def _is_light(network: keras.Model, part: _Rows, spec: TrainingSpec) -> bool:
    """Whether its steps are light, its data small, and nothing is asked for between two epochs."""
    training = spec.training
    asks_between = training.early_stopping, training.tensorboard, *spec.augmentation
    return (
        network.count_params() * training.batch_size <= LIGHT_STEP
        and isinstance(part.x, np.ndarray)
        and part.x.size * FLOAT_BYTES <= MOST_BYTES
        and training.keep == "last"
        and not any(asks_between)
    )


def _fit_in_one(
    network: keras.Model,
    columns: list[NDArray[Any]],
    parts: list[_Rows],
    contract: ImageContract | NumbersContract,
    objective: Objective,
    spec: TrainingSpec,
    watchers: list[Reporter | TimeLimit],
    place: Workplace,
    checkpoints: Checkpoints,
    checkpointer: Checkpointer,
) -> None:
    position = checkpoints.position
    training = spec.training

    def normalised(part: _Rows) -> NDArray[np.float32]:
        return contract.normalisation.apply(np.asarray(part.x, np.float32))

    def told(epoch: int, seconds: float, rate: float, logs: dict[str, float]) -> None:
        for watcher in watchers:
            watcher.epoch_done(epoch, seconds, rate, logs)
        position.count(logs, finished=False)

    def goes_on() -> bool:
        position.finished = place.watch.is_stopping()
        checkpointer.epochs_done()
        return not position.finished

    if position.finished:
        return
    validation = [normalised(parts[1]), objective.labels(parts[1].y)] if len(parts[1]) else None
    fit_light(
        network,
        [normalised(parts[0]), *columns],
        validation,
        batch_size=training.batch_size,
        evaluation_batch=max(training.batch_size, SMALLEST_EVALUATION_BATCH),
        seed=training.seed,
        epochs=training.epochs,
        seconds_at_once=place.progress_seconds,
        told=told,
        goes_on=goes_on,
        done=position.epoch,
    )


def _measured(network: keras.Model, labels: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, float | None]:
    """What `network.evaluate` would say, without asking the network again."""
    network.reset_metrics()
    labels, answers = tf.constant(labels), tf.constant(outputs)
    loss = network.compute_loss(y=labels, y_pred=answers, training=False)
    measured = network.compute_metrics(None, labels, answers)
    return finite({name: float(value) for name, value in {**measured, "loss": loss}.items()})


def _stopping(training: Training) -> list[keras.callbacks.EarlyStopping]:
    wanted = training.early_stopping
    if wanted is None:
        return []
    return [
        keras.callbacks.EarlyStopping(
            wanted.monitor,
            min_delta=wanted.min_delta,
            patience=wanted.patience,
            mode=wanted.mode,
            start_from_epoch=wanted.start_from_epoch,
            restore_best_weights=wanted.restore_best,
        )
    ]


def _keeping(training: Training) -> list[keras.callbacks.EarlyStopping]:
    """Keras keeps the best epoch's weights in the callback that also could stop: this one never does."""
    if training.keep == "last":
        return []
    return [keras.callbacks.EarlyStopping(training.keep.best, patience=training.epochs, restore_best_weights=True)]


@contextmanager
def _determinism(*, wanted: bool) -> Iterator[None]:
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
def _keras_failures() -> Iterator[None]:
    """What TensorFlow and Keras raise when spec and data do not go together, as what the owner can change."""
    try:
        yield
    except InvalidRequest as error:  # what the API could not know, such as the width of an uploaded set
        places = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults)
        raise NetworkDoesNotFit(f"{error.detail} {places}") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemory(
            f"The memory did not suffice ({keras_message(error).splitlines()[0]}): lower batch_size, "
            "or build with fewer parameters or smaller layer outputs."
        ) from error
    except (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        raise NetworkDoesNotFit(f"Network, labels and data do not go together: {keras_message(error)}") from error
