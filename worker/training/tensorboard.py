"""Write the logs for TensorBoard that the spec requests."""

import shutil
from pathlib import Path

import keras
import tensorflow as tf

from shared.registry.manifest import TENSORBOARD_FILE
from shared.spec.training import TensorBoard


def make_tensorboard_callbacks(
    network: keras.Model, wanted: TensorBoard | None, folder: Path
) -> list[keras.callbacks.Callback]:
    """Make the callback that writes logs to `folder/train` and `folder/validation`, and write the graph.

    The logs contain the scalars of every epoch, and what `wanted` requests. Returns no callback if `wanted` is None.
    """
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
    """Write the graph of TensorFlow operations. The callback of Keras 3 writes only the graph of layers."""
    inputs = tf.TensorSpec(network.input_shape, tf.float32)
    forward = tf.function(lambda values: network(values, training=False)).get_concrete_function(inputs)
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        tf.summary.graph(forward.graph)
    writer.close()


def zip_logs(folder: Path, target: Path) -> list[Path]:
    """Zip the logs into the folder `target`. Returns the path of the zip, or no path if there are no logs.

    `tensorboard --logdir` shows the unpacked zip.
    """
    if not folder.exists():
        return []
    stem = TENSORBOARD_FILE.removesuffix(".zip")
    return [Path(shutil.make_archive(str(target / stem), "zip", folder))]
