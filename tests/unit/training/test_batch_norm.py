"""Test that the fused batch normalisation does what that of Keras does."""

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.spec.training import Precision
from worker.training.batch_norm import fuse_batch_normalisations
from worker.training.precision import compute_in

BATCH = 12


def make_network(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 5, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(**options)])
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(inner(inputs)))
    network = keras.Model(inputs, outputs)
    network.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return network


def train(network: keras.Model, device: str | None, precision: Precision = Precision.FLOAT32) -> list[np.ndarray]:
    """Train five steps, and return all weights and the outputs for new inputs."""
    random = np.random.default_rng(0)
    x, y = random.normal(2, 3, (5, BATCH, 6, 5, 3)), random.normal(size=(5, BATCH, 2))
    fused = fuse_batch_normalisations(network, device) if device is not None else nullcontext()
    with compute_in(network, precision), fused:
        step = tf.function(lambda x, y: network.train_step((x, y)))
        for images, targets in zip(x.astype(np.float32), y.astype(np.float32), strict=True):
            step(tf.constant(images), tf.constant(targets))
    return [*network.get_weights(), network.predict(x[0], verbose=0)]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8, "epsilon": 0.01}, {"scale": False, "center": False}])
def test_a_training_gives_the_weights_of_keras(options: dict[str, Any]) -> None:
    ours, theirs = train(make_network(**options), "/CPU:0"), train(make_network(**options), None)

    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, atol=2e-5), np.abs(one - other).max()


def test_a_training_in_bfloat16_is_as_near_to_float32_as_that_of_keras() -> None:
    exact = train(make_network(), None)
    ours, theirs = (train(make_network(), device, Precision.MIXED_BFLOAT16) for device in ("/CPU:0", None))

    for one, other, precise in zip(ours, theirs, exact, strict=True):
        assert np.abs(one - precise).max() <= 2 * np.abs(other - precise).max() + 0.01


def list_operations(network: keras.Model, device: str) -> set[str]:
    with fuse_batch_normalisations(network, device):
        step = tf.function(lambda x: network(x, training=True)).get_concrete_function(
            tf.zeros((4, *network.input_shape[1:]))
        )
    return {operation.type for operation in step.graph.get_operations()}


def test_only_what_fits_is_fused_and_only_inside_of_the_block() -> None:
    images, rows = make_network(), keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    channels_first = keras.Sequential([keras.Input((3, 4, 4)), keras.layers.BatchNormalization(axis=1)])

    assert "FusedBatchNormV3" in list_operations(images, "/CPU:0")
    assert "FusedBatchNormV3" not in list_operations(images, "/GPU:0")
    for network in (rows, channels_first):
        assert "FusedBatchNormV3" not in list_operations(network, "/CPU:0")
    layer = images.layers[1].layers[1]
    assert "call" not in vars(layer)


def test_a_frozen_layer_keeps_its_averages() -> None:
    network = make_network()
    network.layers[1].layers[1].trainable = False
    before = network.layers[1].layers[1].get_weights()

    train(network, "/CPU:0")

    for one, other in zip(before, network.layers[1].layers[1].get_weights(), strict=True):
        assert np.array_equal(one, other)
