"""Fit one network: make its callbacks and batches, and train the epochs."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.networks.augmentation import make_augmentation_layers
from shared.spec.training import Precision, TrainingOptions
from worker.training.batch_norm import fuse_batch_normalisations
from worker.training.callbacks import PlateauCallback, ProgressCallback, TimeLimitCallback
from worker.training.checkpoints.callback import CheckpointCallback
from worker.training.fused_fit import MAX_FUSED_BYTES, fit_fused
from worker.training.input.pipeline import EpochOrder, draw_shuffled_order, make_training_batches
from worker.training.measuring import FitSummary, measure_outputs, summarise
from worker.training.memory_check import FLOAT_BYTES
from worker.training.precision import compute_in
from worker.training.run import PreparedPart, TrainingRun, make_evaluation_batches, take_first_batch
from worker.training.stepping import choose_steps, run_steps_in_calls
from worker.training.tensorboard import make_tensorboard_callbacks

MAX_FUSED_STEP_COST = 300_000
"""Parameters × rows of a batch. A step up to this cost takes much less than a millisecond on one CPU core."""


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
    return summarise(run, _find_kept_epoch(run, callbacks), callbacks.progress)


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


def fit_epochs(run: TrainingRun, callbacks: Callbacks) -> None:
    """Train with `Model.fit`, and skip the batches that the checkpoint contains."""
    network, options, state = run.network, run.options, run.state
    if state.batch:  # Keras makes the metrics in the first step, too late to restore their state: make them now
        nothing = np.zeros((1, *network.output_shape[1:]), np.float32)
        measure_outputs(network, run.objective.encode_labels(run.train.y[:1]), nothing)
    steps = choose_steps(network, options.batch_size)
    with (
        compute_in(network, run.precision),
        fuse_batch_normalisations(network, run.context.device),
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


def _find_kept_epoch(run: TrainingRun, callbacks: Callbacks) -> int:
    """Return the epoch whose weights the network has after the training, from 0; -1 without an epoch."""
    trained = run.state.epoch
    restoring = [callback for callback in callbacks.keepers if callback.restore_best_weights]
    return int(restoring[-1].best_epoch) if restoring and trained else trained - 1


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
