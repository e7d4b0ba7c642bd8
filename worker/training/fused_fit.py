"""Trainings of which a step takes microseconds: many epochs at once inside of one TensorFlow function.

Keras's own `fit` goes back to Python after every epoch, which takes longer than an epoch of a logic gate. The steps
here are Keras's, their order is that of the input pipeline, and the weights that come out are those of `fit`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.input_pipeline import draw_epoch_order

Logs = dict[str, float]
Columns = Sequence[NDArray[Any]]

MAX_FUSED_BYTES = 64 * 2**20
"""Of x: it is made float32 as a whole."""
MAX_ROWS_PER_CALL = 2**20
"""Rows times epochs in one go."""
LEARNING_RATE = "learning_rate"


def fit_fused(
    network: keras.Model,
    train: Columns,
    validation: Columns | None,
    batch_size: int,
    evaluation_batch: int,
    seed: int,
    epochs: int,
    seconds_at_once: float,
    told: Callable[[int, float, float, Logs], None],
    goes_on: Callable[[], bool],
    done: int = 0,
) -> None:
    """`train` and `validation` are (x float32, labels, and perhaps weights); `done` epochs have been trained before.

    `told` hears of every epoch, counted from 1: the seconds it took, the learning rate after it, and its metrics. It
    may raise to end the training. `goes_on` is asked whenever the weights are those of the last epoch that was told.
    """
    run, names = _compile_epochs(network, train, validation, batch_size, evaluation_batch)
    rows = len(train[0])
    at_once = 1
    while done < epochs:
        count = min(at_once, epochs - done)
        began = time.monotonic()
        table = run(
            tf.constant(np.stack([draw_epoch_order(seed, done + index + 1, rows) for index in range(count)]))
        ).numpy()
        seconds = (time.monotonic() - began) / count
        for values in table.tolist():
            done += 1
            logs = dict(zip(names, values, strict=True))
            rate = logs.pop(LEARNING_RATE)
            told(done, seconds, rate, logs)
        if not goes_on():
            return
        at_once = max(1, min(2 * at_once, int(seconds_at_once / seconds), MAX_ROWS_PER_CALL // rows))


def _compile_epochs(
    network: keras.Model, train: Columns, validation: Columns | None, batch_size: int, evaluation_batch: int
) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[str]]:
    """From the orders of some epochs, (epochs, rows) int64, to what each came to, (epochs, names)."""
    names: list[str] = []
    rows = len(train[0])
    train_columns = [tf.constant(column) for column in train]
    validation_columns = [tf.constant(column) for column in validation or ()]

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
                batches(network.test_step, validation_columns, tf.range(count), count, evaluation_batch)
                logs |= {f"val_{name}": value for name, value in network.get_metrics_result().items()}
            names[:] = logs
            table = table.write(epoch, tf.stack([tf.cast(value, tf.float32) for value in logs.values()]))
        return table.stack()

    return run, names
