"""Run several steps of `Model.fit` in one call of TensorFlow, which takes less time than the same steps one by one.

Keras has `steps_per_execution` for this. Its last call of an epoch takes batches of the next one if the number does not
divide the steps, and an evaluation takes as many batches in a call, which can last too long to be cancelled.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from worker.training.precision import count_products

MAX_STEPS = 32
"""The most steps in one call. A job can be cancelled and writes checkpoints only between two calls."""
MAX_CALL_PRODUCTS = 2_500_000_000
"""Multiplications of the forward passes of one call: about a quarter of a second on two cores."""
MAX_CALL_COST = 10_000_000
"""Parameters × rows of the batches of one call: what the other layers and the optimizer do."""


def choose_steps(network: keras.Model, batch_size: int) -> int:
    """Return the number of steps in one call: many for a light network, one for a heavy one."""
    by_products = MAX_CALL_PRODUCTS // max(1, count_products(network) * batch_size)
    by_cost = MAX_CALL_COST // max(1, network.count_params() * batch_size)
    return int(max(1, min(MAX_STEPS, max(by_products, by_cost))))


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
