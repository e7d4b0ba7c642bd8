"""Fit one network: make its callbacks and batches, train the epochs, and summarise the result."""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.datasets.row_files import MappedRows
from shared.networks.augmentation import make_augmentation_layers
from shared.networks.objectives import Objective
from shared.preprocessing.contract import Contract
from shared.registry.manifest import Epochs, Metrics
from shared.spec.training import Precision, TrainingOptions, TrainingSpec
from worker.training.callbacks import PlateauCallback, ProgressCallback, TimeLimitCallback, replace_non_finite
from worker.training.checkpoints.callback import CheckpointCallback
from worker.training.checkpoints.format import TrainingState
from worker.training.checkpoints.manager import CheckpointManager
from worker.training.context import TrainingContext
from worker.training.fused_fit import MAX_FUSED_BYTES, fit_fused
from worker.training.input.pipeline import (
    EpochOrder,
    count_steps,
    draw_shuffled_order,
    make_ordered_batches,
    make_training_batches,
)
from worker.training.memory_check import FLOAT_BYTES
from worker.training.precision import compute_in
from worker.training.stepping import choose_steps, run_steps_in_calls
from worker.training.tensorboard import make_tensorboard_callbacks

MIN_MEASURED_ROWS, MAX_MEASURED_ROWS = 2_500, 10_000
MAX_MEASURED_BYTES = 256 * 2**20
MEASURED_SHARE = 20
"""After the training, rows of the training and of the validation part are measured, evenly spaced: one for each
MEASURED_SHARE rows that the training has read, within these limits.
"""
MIN_EVALUATION_BATCH = 256
"""Minimum batch size of an evaluation: larger batches are faster."""
MAX_FUSED_STEP_COST = 300_000
"""Parameters × rows of a batch. A step up to this cost takes much less than a millisecond on one CPU core."""


@dataclass(frozen=True)
class PreparedPart:
    """A part of the data set, preprocessed except for the normalisation of x.

    Attributes:
        x: (n, *input_shape), uint8 for images, int32 for texts, else float32.
        y: the labels of the data set, (n,) int64 or (n, k) float32.
        weights: the weight of each row in the loss, (n,) float32; None if all weigh the same.
    """

    x: NDArray[Any] | MappedRows
    y: NDArray[Any]
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class TrainingRun:
    """The network, the data and the options of one training."""

    network: keras.Model
    train: PreparedPart
    validation: PreparedPart
    test: PreparedPart
    contract: Contract
    objective: Objective
    spec: TrainingSpec
    precision: Precision
    context: TrainingContext
    checkpoints: CheckpointManager

    @property
    def options(self) -> TrainingOptions:
        return self.spec.training

    @property
    def state(self) -> TrainingState:
        return self.checkpoints.state

    @property
    def steps_per_epoch(self) -> int:
        return count_steps(len(self.train), self.options.batch_size)

    @property
    def has_averages(self) -> bool:
        """Return whether the averages of the weights over the steps are published. Keras takes them at the end."""
        optimizer = self.network.optimizer
        return bool(getattr(optimizer, "inner_optimizer", optimizer).use_ema)  # of a LossScaleOptimizer

    @property
    def evaluation_batch_size(self) -> int:
        return max(self.options.batch_size, MIN_EVALUATION_BATCH)

    def make_columns(self) -> list[NDArray[Any]]:
        """Return the labels of the training part and, if rows or classes are weighted, the row weights (n,) float32."""
        weights = self.train.weights
        if self.options.class_weight is not None:
            of_classes = self.objective.compute_weights(self.train.y, self.options.class_weight)
            weights = of_classes if weights is None else weights * of_classes
        labels = self.objective.encode_labels(self.train.y)
        return [labels] if weights is None else [labels, weights]


@dataclass(frozen=True)
class Callbacks:
    """The callbacks of a training.

    Attributes:
        keepers: restore the weights of the best epoch, or stop the training early.
        plateaus: reduce the learning rate.
    """

    progress: ProgressCallback
    limits: list[TimeLimitCallback]
    keepers: list[keras.callbacks.EarlyStopping]
    plateaus: list[PlateauCallback]
    checkpoint: CheckpointCallback


@dataclass(frozen=True)
class FitSummary:
    """The result of a training.

    Attributes:
        test_outputs: (n, width) float32, the predictions for the test part; None without test rows.
        held_out: labels and outputs of the validation part, else of the test part, at most MAX_MEASURED_ROWS; None
            without such rows.
    """

    metrics: Metrics
    epochs: Epochs
    test_outputs: NDArray[np.float32] | None
    held_out: tuple[NDArray[Any], NDArray[np.float32]] | None


def fit(run: TrainingRun) -> FitSummary:
    """Fit the network, starting from its checkpoint if it has one.

    Raises LossIsNotFinite, TimeLimitReached, or the exceptions of the monitor.
    """
    callbacks = make_callbacks(run)
    with ExitStack() as limits:
        for limit in callbacks.limits:
            limits.enter_context(run.context.monitor.limit_time(limit.deadline, limit.failure))
        if not run.options.epochs:
            run.state.finished = True
        elif run.precision is Precision.FLOAT32 and _can_fuse(run):
            _fit_fused(run, callbacks)
        else:
            fit_epochs(run, callbacks)
    return summarise(run, callbacks)


def make_callbacks(run: TrainingRun) -> Callbacks:
    """Make the callbacks. They continue from the state of the checkpoint."""
    state, options, monitor = run.state, run.options, run.context.monitor
    keepers = [*_make_early_stopping(options), *_make_best_keeper(options)]
    plateaus = _make_plateaus(options)
    limit = run.spec.resources.max_minutes
    return Callbacks(
        progress=ProgressCallback(
            monitor,
            options.epochs,
            run.steps_per_epoch,
            run.context.progress_seconds,
            state.epoch * run.steps_per_epoch + state.batch,
        ),
        limits=[TimeLimitCallback(limit, state.seconds)] if limit is not None else [],
        keepers=keepers,
        plateaus=plateaus,
        checkpoint=CheckpointCallback(run.checkpoints, [*keepers, *plateaus], monitor, run.steps_per_epoch),
    )


def make_batches(run: TrainingRun) -> tf.data.Dataset:
    """Make one stream with the batches of all remaining epochs."""
    return make_training_batches(
        run.train.x,
        run.make_columns(),
        run.contract.normalisation,
        run.options.batch_size,
        run.options.seed,
        run.options.epochs,
        _make_order(run),
        make_augmentation_layers(run.spec.augmentation, run.contract),
        (run.state.epoch, run.state.batch),
    )


def _make_order(run: TrainingRun) -> EpochOrder:
    """Make the order of the rows of each epoch: shuffled with (seed, epoch), or that of the data."""
    rows = len(run.train)
    if not run.options.shuffle:
        return lambda _: np.arange(rows)
    return partial(draw_shuffled_order, seed=run.options.seed, rows=rows)


def make_evaluation_batches(run: TrainingRun, part: PreparedPart) -> tf.data.Dataset | None:
    """Make the batches of a part, in the order of its rows. Returns None for a part without rows."""
    if not len(part):
        return None
    labels = run.objective.encode_labels(part.y)
    return make_ordered_batches(part.x, labels, run.contract.normalisation, run.evaluation_batch_size)


def take_first_batch(run: TrainingRun) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first rows of the training part as one batch: x as the network takes it, and the labels."""
    first = _select(run.train, np.arange(min(len(run.train), run.options.batch_size)))
    labels = run.objective.encode_labels(first.y)
    x, encoded = next(iter(make_ordered_batches(first.x, labels, run.contract.normalisation, len(first))))
    return x, encoded


def fit_epochs(run: TrainingRun, callbacks: Callbacks) -> None:
    """Train with `Model.fit`, and skip the batches that the checkpoint contains."""
    network, options, state = run.network, run.options, run.state
    if state.batch:  # Keras makes the metrics in the first step, too late to restore their state: make them now
        nothing = np.zeros((1, *network.output_shape[1:]), np.float32)
        measure_outputs(network, run.objective.encode_labels(run.train.y[:1]), nothing)
    steps = choose_steps(network, options.batch_size)
    with (
        compute_in(network, run.precision),
        run_steps_in_calls(network, steps, run.steps_per_epoch, state.batch, state.batch_logs) as stepping,
    ):
        network.fit(
            make_batches(run),
            initial_epoch=options.epochs if state.finished else state.epoch,
            epochs=options.epochs,
            steps_per_epoch=run.steps_per_epoch,
            validation_data=make_evaluation_batches(run, run.validation),
            callbacks=[
                stepping,
                callbacks.progress,
                *callbacks.limits,
                *callbacks.keepers,
                *callbacks.plateaus,
                *make_tensorboard_callbacks(
                    network, options.tensorboard, run.context.logs_dir, partial(take_first_batch, run)
                ),
                callbacks.checkpoint,  # last: it saves the state that the others have changed
            ],
            shuffle=False,  # `make_batches` orders the rows
            verbose=0,
        )


def summarise(run: TrainingRun, callbacks: Callbacks) -> FitSummary:
    """Evaluate the test part, and collect the metrics of the epoch whose weights the network now has."""
    trained = run.state.epoch
    restoring = [callback for callback in callbacks.keepers if callback.restore_best_weights]
    kept = restoring[-1].best_epoch if restoring and trained else trained - 1
    values = replace_non_finite({name: values[kept] for name, values in run.state.history.items()})
    train, validation = _take_sample(run, run.train), _take_sample(run, run.validation)
    train_outputs, validation_outputs, test_outputs = (
        _predict(run, callbacks, part) for part in (train, validation, run.test)
    )
    monitored = {name.removeprefix("val_"): values[name] for name in values if name.startswith("val_")}
    if not trained or run.has_averages:
        monitored = _measure_part(run, validation, validation_outputs) or {}
    metrics = Metrics(
        train=_measure_part(run, train, train_outputs) or {},
        last_epoch={name: value for name, value in values.items() if not name.startswith("val_")} or None,
        validation=monitored or None,
        test=_measure_part(run, run.test, test_outputs),
    )
    held_out = None
    if validation_outputs is not None:
        held_out = validation.y, validation_outputs
    elif test_outputs is not None:
        held_out = run.test.y, test_outputs
    epochs = Epochs(asked=run.options.epochs, trained=trained, kept=kept + 1)
    return FitSummary(metrics, epochs, test_outputs, held_out)


def _take_sample(run: TrainingRun, part: PreparedPart) -> PreparedPart:
    """Return the part, or evenly spaced rows of it if it is large."""
    row_bytes = max(1, part.x.dtype.itemsize * math.prod(part.x.shape[1:]))
    count = MAX_MEASURED_ROWS
    if run.options.epochs:
        count = min(count, max(MIN_MEASURED_ROWS, run.state.epoch * len(run.train) // MEASURED_SHARE))
    count = max(1, min(count, MAX_MEASURED_BYTES // row_bytes))
    if len(part) <= count:
        return part
    return _select(part, np.linspace(0, len(part) - 1, count).astype(np.int64))


def _select(part: PreparedPart, rows: NDArray[np.int64]) -> PreparedPart:
    return PreparedPart(part.x.read(rows) if isinstance(part.x, MappedRows) else part.x[rows], part.y[rows])


def _predict(run: TrainingRun, callbacks: Callbacks, part: PreparedPart) -> NDArray[np.float32] | None:
    """Return the outputs for a part, (n, width); None without rows."""
    batches = make_evaluation_batches(run, part)
    if batches is None:
        return None
    outputs: NDArray[np.float32] = run.network.predict(batches, callbacks=[callbacks.progress], verbose=0)
    return outputs


def _measure_part(
    run: TrainingRun, part: PreparedPart, outputs: NDArray[np.float32] | None
) -> dict[str, float | None] | None:
    """Compute the loss and the metrics of a part from its outputs; None without rows."""
    if outputs is None:
        return None
    return measure_outputs(run.network, run.objective.encode_labels(part.y), outputs)


def _can_fuse(run: TrainingRun) -> bool:
    """Return whether many epochs can run in one call: cheap steps, little data, no work between two epochs."""
    options, x = run.options, run.train.x
    between_epochs = options.early_stopping, options.reduce_lr_on_plateau, options.tensorboard, *run.spec.augmentation
    return (
        not run.has_averages
        and run.network.count_params() * options.batch_size <= MAX_FUSED_STEP_COST
        and isinstance(x, np.ndarray)
        and x.size * FLOAT_BYTES <= MAX_FUSED_BYTES
        and options.keep == "last"
        and not any(between_epochs)
    )


def _fit_fused(run: TrainingRun, callbacks: Callbacks) -> None:
    """Train with `fit_fused`: many epochs in one call of a TensorFlow function."""
    state = run.state
    if state.finished:
        return

    def normalise(part: PreparedPart) -> NDArray[np.float32]:
        return run.contract.normalisation.apply(np.asarray(part.x, np.float32))

    def on_epoch_end(epoch: int, seconds: float, learning_rate: float, logs: dict[str, float]) -> None:
        callbacks.progress.on_fused_epoch_end(epoch, seconds, learning_rate, logs)
        for limit in callbacks.limits:
            limit.on_fused_epoch_end(epoch, seconds, learning_rate, logs)
        state.add_epoch(logs, finished=False)

    def should_continue() -> bool:
        state.finished = run.context.monitor.is_stopping()
        callbacks.checkpoint.on_fused_epochs_end()
        return not state.finished

    validation = None
    if len(run.validation):
        validation = [normalise(run.validation), run.objective.encode_labels(run.validation.y)]
    fit_fused(
        run.network,
        [normalise(run.train), *run.make_columns()],
        validation,
        batch_size=run.options.batch_size,
        evaluation_batch_size=run.evaluation_batch_size,
        draw_order=_make_order(run),
        epochs=run.options.epochs,
        seconds_per_call=run.context.progress_seconds,
        on_epoch_end=on_epoch_end,
        should_continue=should_continue,
        completed_epochs=state.epoch,
    )


def measure_outputs(
    network: keras.Model, labels: NDArray[Any], outputs: NDArray[np.float32]
) -> dict[str, float | None]:
    """Compute the loss and the metrics as `network.evaluate` does, but from known outputs."""
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


def _make_plateaus(training: TrainingOptions) -> list[PlateauCallback]:
    wanted = training.reduce_lr_on_plateau
    return [PlateauCallback(**dict(wanted))] if wanted is not None else []


def _make_best_keeper(training: TrainingOptions) -> list[keras.callbacks.EarlyStopping]:
    """Make the callback that restores the weights of the best epoch.

    It is Keras's EarlyStopping. Its patience is the number of epochs, so it never stops the training.
    """
    if training.keep == "last":
        return []
    return [keras.callbacks.EarlyStopping(training.keep.best, patience=training.epochs, restore_best_weights=True)]
