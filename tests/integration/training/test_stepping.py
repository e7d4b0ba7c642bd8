"""Test that several training steps in one call do what the same steps do one by one."""

from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.networks.builder import build_network
from shared.spec.network import NetworkSpec
from tests.support.layer_stacks import STACKS
from worker.training.stepping import MAX_STEPS, choose_steps, run_steps_in_calls

BATCHES = 7
BATCH_SIZE = 5
X = np.random.default_rng(1).normal(size=(BATCHES * BATCH_SIZE - 2, 4)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


class Calls(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Count the calls of each epoch, and those of its evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.training: list[int] = []
        self.evaluation = 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        self.training.append(0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        self.training[-1] += 1

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        self.evaluation += 1


def make_network(layers: Sequence[keras.layers.Layer] = ()) -> keras.Model:
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    network.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return network


def fit(network: keras.Model, steps: int, epochs: int = 2, done: int = 0) -> tuple[keras.callbacks.History, Calls]:
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH_SIZE)
    batches, calls = rows.repeat().skip(done), Calls()
    if done:  # Keras makes the metrics in the first step
        network.evaluate(X[:1], Y[:1], verbose=0)
    with run_steps_in_calls(network, steps, BATCHES, done, {"loss": 0.5, "mae": 0.5}) as stepping:
        history = network.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=BATCHES,
            validation_data=rows,
            callbacks=[stepping, calls],
            shuffle=False,
            verbose=0,
        )
    return history, calls


def fit_with_keras(network: keras.Model) -> keras.callbacks.History:
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH_SIZE)
    return network.fit(rows, epochs=2, validation_data=rows, shuffle=False, verbose=0)


@pytest.mark.parametrize(("steps", "calls"), [(1, 7), (3, 3), (7, 1), (32, 1)])
def test_the_weights_and_metrics_are_those_of_keras(steps: int, calls: int) -> None:
    expected_network, network = make_network(), make_network()
    expected = fit_with_keras(expected_network)

    history, counted = fit(network, steps)

    assert counted.training == [calls, calls]
    assert counted.evaluation == 2 * BATCHES, "an evaluation takes one batch in a call, and can be cancelled"
    for got, wanted in zip(network.get_weights(), expected_network.get_weights(), strict=True):
        assert np.array_equal(got, wanted)
    for name, values in expected.history.items():
        assert history.history[name] == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize(("steps", "done"), [(3, 3), (3, 4), (1, 6), (7, 7), (32, 5)])
def test_done_steps_of_the_first_epoch_are_left_out(steps: int, done: int) -> None:
    expected_network, network = make_network(), make_network()
    for batch in range(done, BATCHES):
        rows = slice(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE)
        expected_network.train_on_batch(X[rows], Y[rows])
    _, counted = fit(network, steps, epochs=1, done=done)

    assert counted.training == [-(-BATCHES // steps)]
    for got, wanted in zip(network.get_weights(), expected_network.get_weights(), strict=True):
        assert np.allclose(got, wanted, atol=1e-7)


def test_a_light_network_takes_many_steps_in_a_call_and_a_heavy_one_takes_one() -> None:
    light = make_network()
    heavy = make_network([keras.layers.Dense(9000), keras.layers.Dense(9000)])

    assert choose_steps(light, 32) == MAX_STEPS
    assert choose_steps(heavy, 32) == 1


def test_the_steps_of_a_recurrent_layer_and_large_images_count() -> None:
    recurrent = keras.Sequential([keras.Input((500, 64)), keras.layers.Bidirectional(keras.layers.LSTM(128))])
    pooling = keras.Sequential([keras.Input((512, 512, 3)), keras.layers.MaxPooling2D(1), keras.layers.Flatten()])
    words = keras.Sequential([keras.Input((100,)), keras.layers.Embedding(20_000, 16), keras.layers.Flatten()])

    assert choose_steps(recurrent, 64) == 1
    assert choose_steps(pooling, 32) < 4
    assert choose_steps(words, 64) == MAX_STEPS


def test_every_layer_has_a_cost() -> None:
    for shape, layer in STACKS:
        network = build_network(NetworkSpec.model_validate({"layers": [layer]}), shape, "network")
        assert choose_steps(network, 1) == MAX_STEPS, layer
        assert choose_steps(network, 10**9) == 1, layer
