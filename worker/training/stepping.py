"""Run several steps of `Model.fit` in one call of TensorFlow, which takes less time than the same steps one by one.

Keras has `steps_per_execution` for this. Its last call of an epoch takes batches of the next one if the number does not
divide the steps, and an evaluation takes as many batches in a call, which can last too long to be cancelled.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

MAX_STEPS = 32
"""The most steps in one call. A job can be cancelled and writes checkpoints only between two calls."""
MAX_CALL_COST = 2_500_000_000
"""Multiplications of the forward passes of one call: up to half a second on two slow cores."""
COST_OF_A_NUMBER = 16
"""Multiplications that take as long as to write a number and to read it again."""


def choose_steps(network: keras.Model, batch_size: int) -> int:
    """Return the number of steps in one call: many for a light network, one for a heavy one."""
    cost = batch_size * sum(_estimate_cost(layer) for layer in network.layers)
    return max(1, min(MAX_STEPS, MAX_CALL_COST // max(1, cost)))


def _estimate_cost(layer: keras.Layer) -> int:
    """Estimate what a layer does for one row: weights of a kernel × positions, and the numbers of its output.

    The positions are those of the input or of the output, if these are more: a recurrent layer has one output, and
    multiplies at each step.
    """
    if isinstance(layer, keras.Model):
        return sum(_estimate_cost(inner) for inner in layer.layers)
    outputs = [tensor.shape[1:] for tensor in keras.tree.flatten(layer.output)]
    positions = [shape[:-1] for shape in (*outputs, *(tensor.shape[1:] for tensor in keras.tree.flatten(layer.input)))]
    numbers = sum(math.prod(shape) for shape in outputs)
    kernels = [] if isinstance(layer, keras.layers.Embedding) else layer.weights  # an Embedding only reads its rows
    weights = sum(math.prod(weight.shape) for weight in kernels if len(weight.shape) > 1)
    return int(weights * max(map(math.prod, positions)) + COST_OF_A_NUMBER * numbers)


@contextmanager
def run_steps_in_calls(
    network: keras.Model, steps: int, steps_per_epoch: int, done: int, logs: Mapping[str, float]
) -> Iterator[keras.callbacks.Callback]:
    """Let `fit` run `steps` steps in one call inside a `with` block, and an evaluation one. Yields a callback for it.

    Args:
        done: steps of the first epoch that are in the checkpoint, and are left out.
        logs: the metrics after them.
    """
    usual = network.train_function, network.steps_per_execution
    network.train_function = _make_train_function(network, steps, steps_per_epoch, done, logs)
    network.steps_per_execution = steps  # `fit` makes its loop from it, before the callbacks hear of its begin
    try:
        yield keras.callbacks.LambdaCallback(
            on_train_begin=lambda _: setattr(network, "steps_per_execution", usual[1]),
        )
    finally:
        network.train_function, network.steps_per_execution = usual


def _make_train_function(
    network: keras.Model, steps: int, steps_per_epoch: int, done: int, logs: Mapping[str, float]
) -> Callable[[Any], Any]:
    """Make the function that `fit` calls with the iterator of the batches. It returns the metrics so far."""

    def train_one_step(batch: tuple[tf.Tensor, ...]) -> None:
        network.train_step(batch)

    step = tf.function(train_one_step, autograph=False, reduce_retracing=True, jit_compile=network.jit_compile)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def run(batches: Any, count: tf.Tensor) -> dict[str, tf.Tensor]:  # noqa: ANN401 - an iterator without a type
        for _ in tf.range(count):
            step(next(batches))
        return network.get_metrics_result()  # type: ignore[no-any-return]

    begin = 0

    def train(batches: Any) -> Any:  # noqa: ANN401
        nonlocal begin, done
        end = min(begin + steps, steps_per_epoch)
        count = end - max(begin, done)
        begin = end
        if end == steps_per_epoch:
            begin, done = 0, 0
        return run(batches, tf.constant(count)) if count > 0 else logs

    return train
