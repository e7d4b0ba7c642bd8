"""Random changes to a batch of images that are a function of (seed, step): a batch seen again looks the same again."""

from collections.abc import Sequence

import keras
import tensorflow as tf

BRIGHTEST = 255.0


class _DrawnSeeds(keras.random.SeedGenerator):  # type: ignore[misc]  # keras is untyped
    """What a layer takes for its own seeds: nothing is kept between two batches, as Keras's would be."""

    def __init__(self, base: tf.Tensor) -> None:
        self._base = base
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:  # noqa: ARG002, FBT001, FBT002 - Keras's own signature
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._base, self._drawn)


def augment(layers: Sequence[keras.layers.Layer], images: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """float32 (n, height, width, channels) with levels from 0 to 255 → the same; `step` is an int64 scalar."""
    for index, layer in enumerate(layers):
        base = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), step]), index)
        transformation = layer.get_random_transformation(images, training=True, seed=_DrawnSeeds(base))
        images = layer.transform_images(images, transformation, training=True)
    return tf.clip_by_value(images, 0.0, BRIGHTEST)
