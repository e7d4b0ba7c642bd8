"""Make the batches of a training with tf.data.

Only the rows of a batch become float32: images stay uint8 until then, and arrays that do not fit the memory stay in
their file.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.datasets.row_files import MappedRows
from shared.preprocessing.normalisation import Normalisation
from worker.training.input.augmentation import augment

PREFETCHED_BATCHES = 2
EpochOrder = Callable[[int], NDArray[np.int64]]


def make_training_batches(
    x: NDArray[Any] | MappedRows,
    columns: Sequence[NDArray[Any]],
    normalisation: Normalisation,
    batch_size: int,
    seed: int,
    epochs: int,
    draw_order: EpochOrder,
    augmentation: Sequence[keras.layers.Layer] = (),
    done: tuple[int, int] = (0, 0),
) -> tf.data.Dataset:
    """Make one stream with the batches of all epochs.

    Args:
        columns: the labels and, if rows are weighted, the weights (n,) float32.
        seed: random seed of the augmentation.
        epochs: number of the last epoch; epochs count from 1.
        draw_order: takes the number of an epoch, and returns the row indices in its order, (rows,) int64.
        augmentation: layers that change the images at random.
        done: number of complete epochs, and of batches of the next epoch, that the stream leaves out.

    Returns:
        Batches (x float32 (batch_size, *input_shape), *columns). The last batch of an epoch can be smaller.
    """
    rows = len(x)
    epochs_done, batches_done = done

    def draw_rest(epoch: np.int64) -> NDArray[np.int64]:
        return draw_order(int(epoch))[batches_done * batch_size if epoch == epochs_done + 1 else 0 :]

    def make_order(epoch: tf.Tensor) -> tf.data.Dataset:
        # Not `from_generator`: it makes malloc return each block of 128 KiB to the system, in the whole process.
        order = tf.ensure_shape(tf.numpy_function(draw_rest, [epoch], tf.int64, stateful=False), (None,))
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    orders = tf.data.Dataset.range(epochs_done + 1, epochs + 1).flat_map(make_order)

    def prepare(step: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return normalisation.apply(augment(augmentation, values, seed, step) if augmentation else values)

    return _make_batches(orders, x, columns, prepare, epochs_done * count_steps(rows, batch_size) + batches_done)


def make_ordered_batches(
    x: NDArray[Any] | MappedRows, labels: NDArray[Any], normalisation: Normalisation, batch_size: int
) -> tf.data.Dataset:
    """Make the batches (x float32, labels) of one pass over the rows, in their order."""
    orders = tf.data.Dataset.range(len(x)).batch(batch_size)
    return _make_batches(orders, x, [labels], lambda _, values: normalisation.apply(values))


def draw_shuffled_order(epoch: int, seed: int, rows: int) -> NDArray[np.int64]:
    """Return the row indices in the order of an epoch, (rows,) int64. Only (seed, epoch) determines it."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def count_steps(rows: int, batch_size: int) -> int:
    """Return the number of batches of an epoch, with the last, smaller one."""
    return ceil(rows / batch_size)


def _make_batches(
    orders: tf.data.Dataset,
    x: NDArray[Any] | MappedRows,
    columns: Sequence[NDArray[Any]],
    prepare: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    first_step: int = 0,
) -> tf.data.Dataset:
    """Make the batches for a stream of row indices.

    Args:
        orders: row indices of each batch, int64.
        prepare: takes the number of the batch in the training, and its rows of x as float32. Returns the inputs.
        first_step: number of the first batch of the stream.
    """
    with tf.device("/CPU:0"):  # the data set may be larger than the memory of the GPU
        rows_of_x = _make_reader(x)
        all_columns = [tf.constant(column) for column in columns]

    def batch(step: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        values = prepare(step, tf.cast(rows_of_x(rows), tf.float32))
        return (values, *(tf.gather(column, rows) for column in all_columns))

    options = tf.data.Options()
    options.deterministic = True
    return (
        orders.enumerate(first_step).map(batch, num_parallel_calls=1).prefetch(PREFETCHED_BATCHES).with_options(options)
    )


def _make_reader(x: NDArray[Any] | MappedRows) -> Callable[[tf.Tensor], tf.Tensor]:
    """Make a function that reads rows of x by their indices, (n,) int64."""
    if not isinstance(x, MappedRows):
        all_x = tf.constant(np.ascontiguousarray(x))
        return lambda rows: tf.gather(all_x, rows)

    def read(rows: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(x.read, [rows], tf.as_dtype(x.dtype), stateful=False)
        return tf.ensure_shape(found, (None, *x.shape[1:]))

    return read
