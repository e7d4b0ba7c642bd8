"""Fit one network: callbacks, batches, epochs, summary."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.datasets.row_files import MappedRows
from shared.networks.augmentation import make_augmentation_layers
from shared.networks.objectives import Objective
from shared.preprocessing.contract import ImageContract, NumbersContract
from shared.registry.manifest import Epochs, Metrics
from shared.spec.training import Precision, TrainingOptions, TrainingSpec
from worker.training.callbacks import ProgressCallback, TimeLimitCallback, replace_non_finite
from worker.training.checkpoint_format import TrainingState
from worker.training.checkpoints import CheckpointCallback, CheckpointManager, skip_executions
from worker.training.context import TrainingContext
from worker.training.fused_fit import MAX_FUSED_BYTES, fit_fused
from worker.training.input_pipeline import count_steps, make_ordered_batches, make_shuffled_batches
from worker.training.memory_check import FLOAT_BYTES
from worker.training.precision import compute_in
from worker.training.tensorboard import make_tensorboard_callbacks

MIN_EVALUATION_BATCH = 256
MAX_FUSED_STEP_COST = 300_000
"""Parameters × rows: what one processor does in well under a millisecond."""


@dataclass(frozen=True)
class PreparedPart:
    """A part whose x the network can take, but for the normalisation."""

    x: NDArray[Any] | MappedRows
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)


def fit(
    network: keras.Model,
    parts: list[PreparedPart],
    contract: ImageContract | NumbersContract,
    objective: Objective,
    spec: TrainingSpec,
    precision: Precision,
    context: TrainingContext,
    checkpoints: CheckpointManager,
) -> tuple[Metrics, Epochs, NDArray[np.float32] | None]:
    training = spec.training
    train_part, validation_part, test_part = parts
    batches = count_steps(len(train_part), training.batch_size)
    state = checkpoints.state
    done = state.epoch, state.batch
    reporter = ProgressCallback(
        context.monitor, training.epochs, batches, context.progress_seconds, state.epoch * batches + state.batch
    )
    limit = spec.resources.max_minutes
    limits = [TimeLimitCallback(limit, state.seconds)] if limit is not None else []
    stopping, keeping = _make_early_stopping(training), _make_best_keeper(training)
    checkpointer = CheckpointCallback(checkpoints, [*stopping, *keeping], context.monitor)
    evaluation_batch = max(training.batch_size, MIN_EVALUATION_BATCH)
    columns = [objective.encode_labels(train_part.y)]
    if training.class_weight is not None:
        columns.append(objective.compute_weights(train_part.y, training.class_weight))

    def in_order(part: PreparedPart) -> tf.data.Dataset | None:
        labels = objective.encode_labels(part.y)
        return make_ordered_batches(part.x, labels, contract.normalisation, evaluation_batch) if len(part) else None

    if precision is Precision.FLOAT32 and _can_fuse(network, train_part, spec):
        _fit_in_one(
            network, columns, parts, contract, objective, spec, [reporter, *limits], context, checkpoints, checkpointer
        )
    else:
        batches_of_all_epochs = make_shuffled_batches(
            train_part.x,
            columns,
            contract.normalisation,
            training.batch_size,
            training.seed,
            training.epochs,
            make_augmentation_layers(spec.augmentation, contract),
            done,
        )
        if state.batch:  # Keras would make the metrics at the first step, when there is nothing more to restore
            nothing = np.zeros((1, *network.output_shape[1:]), np.float32)
            _measure(network, objective.encode_labels(train_part.y[:1]), nothing)
        with compute_in(network, precision), _skip_done_batches(network, state):
            network.fit(
                batches_of_all_epochs,
                initial_epoch=training.epochs if state.finished else state.epoch,
                epochs=training.epochs,
                steps_per_epoch=batches,
                validation_data=in_order(validation_part),
                callbacks=[
                    reporter,
                    *limits,
                    *stopping,
                    *keeping,
                    *make_tensorboard_callbacks(network, training.tensorboard, context.logs_dir),
                    checkpointer,
                ],
                shuffle=False,  # the stream is shuffled already
                verbose=0,
            )
    history = state.history
    trained = state.epoch
    keepers = [callback for callback in (*stopping, *keeping) if callback.restore_best_weights]
    kept = keepers[-1].best_epoch if keepers else trained - 1
    values = replace_non_finite({name: values[kept] for name, values in history.items()})
    test = in_order(test_part)
    outputs = network.predict(test, callbacks=[reporter], verbose=0) if test is not None else None
    metrics = Metrics(
        train={name: value for name, value in values.items() if not name.startswith("val_")},
        validation={name.removeprefix("val_"): values[name] for name in values if name.startswith("val_")} or None,
        test=_measure(network, objective.encode_labels(test_part.y), outputs) if outputs is not None else None,
    )
    return metrics, Epochs(asked=training.epochs, trained=trained, kept=kept + 1), outputs


@contextmanager
def _skip_done_batches(network: keras.Model, state: TrainingState) -> Iterator[None]:
    """The first epoch goes on in the middle, where a checkpoint was written there."""
    network.make_train_function()
    whole = network.train_function
    if state.batch:
        network.train_function = skip_executions(whole, state.batch // network.steps_per_execution, state.batch_logs)
    try:
        yield
    finally:
        network.train_function = whole


def _can_fuse(network: keras.Model, part: PreparedPart, spec: TrainingSpec) -> bool:
    """Whether its steps are light, its data small, and nothing is asked for between two epochs."""
    training = spec.training
    asks_between = training.early_stopping, training.tensorboard, *spec.augmentation
    return (
        network.count_params() * training.batch_size <= MAX_FUSED_STEP_COST
        and isinstance(part.x, np.ndarray)
        and part.x.size * FLOAT_BYTES <= MAX_FUSED_BYTES
        and training.keep == "last"
        and not any(asks_between)
    )


def _fit_in_one(
    network: keras.Model,
    columns: list[NDArray[Any]],
    parts: list[PreparedPart],
    contract: ImageContract | NumbersContract,
    objective: Objective,
    spec: TrainingSpec,
    watchers: list[ProgressCallback | TimeLimitCallback],
    context: TrainingContext,
    checkpoints: CheckpointManager,
    checkpointer: CheckpointCallback,
) -> None:
    state = checkpoints.state
    training = spec.training

    def normalised(part: PreparedPart) -> NDArray[np.float32]:
        return contract.normalisation.apply(np.asarray(part.x, np.float32))

    def told(epoch: int, seconds: float, rate: float, logs: dict[str, float]) -> None:
        for watcher in watchers:
            watcher.on_fused_epoch_end(epoch, seconds, rate, logs)
        state.count(logs, finished=False)

    def goes_on() -> bool:
        state.finished = context.monitor.is_stopping()
        checkpointer.on_fused_epochs_end()
        return not state.finished

    if state.finished:
        return
    validation = [normalised(parts[1]), objective.encode_labels(parts[1].y)] if len(parts[1]) else None
    fit_fused(
        network,
        [normalised(parts[0]), *columns],
        validation,
        batch_size=training.batch_size,
        evaluation_batch=max(training.batch_size, MIN_EVALUATION_BATCH),
        seed=training.seed,
        epochs=training.epochs,
        seconds_at_once=context.progress_seconds,
        told=told,
        goes_on=goes_on,
        done=state.epoch,
    )


def _measure(network: keras.Model, labels: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, float | None]:
    """What `network.evaluate` would say, without asking the network again."""
    network.reset_metrics()
    labels, answers = tf.constant(labels), tf.constant(outputs)
    loss = network.compute_loss(y=labels, y_pred=answers, training=False)
    measured = network.compute_metrics(None, labels, answers)
    return replace_non_finite({name: float(value) for name, value in {**measured, "loss": loss}.items()})


def _make_early_stopping(training: TrainingOptions) -> list[keras.callbacks.EarlyStopping]:
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


def _make_best_keeper(training: TrainingOptions) -> list[keras.callbacks.EarlyStopping]:
    """Keras keeps the best epoch's weights in the callback that also could stop: this one never does."""
    if training.keep == "last":
        return []
    return [keras.callbacks.EarlyStopping(training.keep.best, patience=training.epochs, restore_best_weights=True)]
