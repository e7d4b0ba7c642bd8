"""Augment a batch of images at random. (seed, step) determines the changes, so a resumed training repeats them."""

from collections.abc import Sequence

import keras
import tensorflow as tf

BRIGHTEST = 255.0
"""The maximum level of a pixel."""


class _DrawnSeeds(keras.random.SeedGenerator):  # type: ignore[misc]  # keras is untyped
    """A seed generator for one layer and one batch: all seeds are derived from `base`.

    Keras's own generator has a state that continues from batch to batch.
    """

    def __init__(self, base: tf.Tensor) -> None:
        self._base = base
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:  # noqa: ARG002, FBT001, FBT002 - the signature of Keras
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._base, self._drawn)


def augment(layers: Sequence[keras.layers.Layer], images: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Apply the layers to images, float32 (n, height, width, channels) with levels from 0 to 255.

    `step` is an int64 scalar, the number of the batch in the training, from 0. Returns the same shape, dtype and range.
    """
    for index, layer in enumerate(layers):
        base = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), step]), index)
        transformation = layer.get_random_transformation(images, training=True, seed=_DrawnSeeds(base))
        images = layer.transform_images(images, transformation, training=True)
    return tf.clip_by_value(images, 0.0, BRIGHTEST)
