"""Compute the batch normalisation of images with TensorFlow's fused operation while a network trains on a CPU.

Keras computes mean, variance and outputs with a dozen operations on the whole tensor, and twice as many backwards. One
fused operation does the same in less time: docs/performance.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import keras
import tensorflow as tf

IMAGE_AXES = 4
COMPUTED = ("float32", "bfloat16")


@contextmanager
def fuse_batch_normalisations(network: keras.Model, device: str) -> Iterator[None]:
    """Let the layers BatchNormalization of a network use the fused operation inside a `with` block.

    Layers that the operation does not fit stay as they are: other inputs than images, other axes than the last, and
    `renorm`. `device` is TensorFlow's name of the device; on a GPU nothing changes.
    """
    layers = [layer for layer in _iterate_layers(network) if device == "/CPU:0" and _fits(layer)]
    for layer in layers:
        layer.call = MethodType(_normalise, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _iterate_layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    for inner in getattr(layer, "layers", ()):
        yield inner
        yield from _iterate_layers(inner)


def _fits(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and len(layer.input.shape) == IMAGE_AXES
        and layer.axis in (-1, IMAGE_AXES - 1)
        and not layer.renorm
    )


def _normalise(layer: Any, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:  # noqa: ANN401, FBT001 - called by Keras, which is untyped
    """Do what `BatchNormalization.call` does. `inputs` are (n, height, width, channels)."""
    if not training or not layer.trainable or mask is not None or layer.compute_dtype not in COMPUTED:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = (inputs.shape[-1],)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, layer.compute_dtype),
        scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(channels),
        offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(channels),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) // channels[0], tf.float32)
    biased = variance * (count - 1) / count  # Keras keeps the variance of the batch, TensorFlow its estimate
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, biased)):
        average.assign(average * layer.momentum + value * (1 - layer.momentum))
    return outputs
