"""The logs that TensorBoard reads, as the spec asks for them."""

import shutil
from pathlib import Path

import keras
import tensorflow as tf

from shared.registry.manifest import TENSORBOARD_FILE
from shared.spec.training import TensorBoard


def make_tensorboard_callbacks(
    network: keras.Model, wanted: TensorBoard | None, folder: Path
) -> list[keras.callbacks.Callback]:
    """Scalars of every epoch, and what else is wanted, below `folder/train` and `folder/validation`."""
    if wanted is None:
        return []
    if wanted.graph:
        _write_graph(network, folder / "train")
    return [
        keras.callbacks.TensorBoard(
            folder,
            histogram_freq=wanted.histograms,
            write_graph=wanted.graph,
            write_images=wanted.images,
            update_freq="epoch",
            profile_batch=0,
        )
    ]


def _write_graph(network: keras.Model, folder: Path) -> None:
    """The operations: Keras 3 itself writes no more than how its layers follow on each other."""
    inputs = tf.TensorSpec(network.input_shape, tf.float32)
    forward = tf.function(lambda values: network(values, training=False)).get_concrete_function(inputs)
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        tf.summary.graph(forward.graph)
    writer.close()


def zip_logs(folder: Path, target: Path) -> list[Path]:
    """A zip that `tensorboard --logdir` opens once it is unpacked; none where nothing was logged."""
    if not folder.exists():
        return []
    stem = TENSORBOARD_FILE.removesuffix(".zip")
    return [Path(shutil.make_archive(str(target / stem), "zip", folder))]
