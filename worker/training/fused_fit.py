"""Train networks whose steps take microseconds: many epochs inside one TensorFlow function.

`Model.fit` returns to Python after every epoch. For the four rows of a logic gate, this takes longer than the epoch
itself. The function here calls Keras's own training step with the batches in the order of the input pipeline, so the
weights equal those of `Model.fit`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.input.pipeline import EpochOrder

Logs = dict[str, float]
Columns = Sequence[NDArray[Any]]

MAX_FUSED_BYTES = 64 * 2**20
"""Maximum size of x as float32: the TensorFlow function contains x as a constant."""
MAX_ROWS_PER_CALL = 2**20
"""Maximum of rows × epochs: one tensor contains the row orders of all epochs of a call."""
LEARNING_RATE = "learning_rate"
"""Name of the learning rate among the metrics of an epoch."""


def fit_fused(
    network: keras.Model,
    train: Columns,
    validation: Columns | None,
    batch_size: int,
    evaluation_batch_size: int,
    draw_order: EpochOrder,
    epochs: int,
    seconds_per_call: float,
    on_epoch_end: Callable[[int, float, float, Logs], None],
    should_continue: Callable[[], bool],
    completed_epochs: int = 0,
) -> None:
    """Train many epochs inside one TensorFlow function; the weights equal those of `Model.fit`.

    Args:
        train: x float32 (n, *input_shape), labels (n, ...) and, if rows are weighted, weights (n,) float32.
        validation: x and labels, or None.
        draw_order: takes the number of an epoch, and returns the row indices in its order, (n,) int64.
        seconds_per_call: about how long one call of the function may take.
        on_epoch_end: called with epoch (from 1), seconds, learning rate and metrics; may raise to end the training.
        should_continue: called between two calls of the function. The weights are those of the last reported epoch.
        completed_epochs: number of epochs that the checkpoint contains.
    """
    run, names = _compile_epochs(network, train, validation, batch_size, evaluation_batch_size)
    rows = len(train[0])
    epochs_per_call = 1
    while completed_epochs < epochs:
        count = min(epochs_per_call, epochs - completed_epochs)
        began = time.monotonic()
        orders = [draw_order(completed_epochs + index + 1) for index in range(count)]
        table = run(tf.constant(np.stack(orders))).numpy()
        seconds = (time.monotonic() - began) / count
        for values in table.tolist():
            completed_epochs += 1
            logs = dict(zip(names, values, strict=True))
            learning_rate = logs.pop(LEARNING_RATE)
            on_epoch_end(completed_epochs, seconds, learning_rate, logs)
        if not should_continue():
            return
        epochs_per_call = max(1, min(2 * epochs_per_call, int(seconds_per_call / seconds), MAX_ROWS_PER_CALL // rows))


def _compile_epochs(
    network: keras.Model, train: Columns, validation: Columns | None, batch_size: int, evaluation_batch_size: int
) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[str]]:
    """Compile a function that trains one epoch for each row order.

    Returns the function and the names of the metrics. The function takes the row orders, (epochs, rows) int64, and
    returns the metrics, (epochs, names) float32. The list of names is empty until the first call traces the function.
    """
    names: list[str] = []
    rows = len(train[0])
    train_columns = [tf.constant(column) for column in train]
    validation_columns = [tf.constant(column) for column in validation or ()]
    # Keras makes the metrics at the first step. A function that is traced before resets only the loss.
    network.test_step(tuple(column[:1] for column in train_columns))

    def batches(
        step: Callable[[Any], Any], columns: Sequence[tf.Tensor], order: tf.Tensor, count: int, size: int
    ) -> None:
        for start in tf.range(0, count, size):
            indices = order[start : tf.minimum(start + size, count)]
            step(tuple(tf.gather(column, indices) for column in columns))

    @tf.function(input_signature=[tf.TensorSpec((None, rows), tf.int64)])  # type: ignore[untyped-decorator]
    def run(orders: tf.Tensor) -> tf.Tensor:
        table = tf.TensorArray(tf.float32, size=tf.shape(orders)[0])
        for epoch in tf.range(tf.shape(orders)[0]):
            network.reset_metrics()
            batches(network.train_step, train_columns, orders[epoch], rows, batch_size)
            logs = {**network.get_metrics_result(), LEARNING_RATE: network.optimizer.learning_rate}
            if validation_columns:
                network.reset_metrics()
                count = len(validation_columns[0])
                batches(network.test_step, validation_columns, tf.range(count), count, evaluation_batch_size)
                logs |= {f"val_{name}": value for name, value in network.get_metrics_result().items()}
            names[:] = logs
            table = table.write(epoch, tf.stack([tf.cast(value, tf.float32) for value in logs.values()]))
        return table.stack()

    return run, names
