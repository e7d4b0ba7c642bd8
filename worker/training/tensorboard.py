"""Write the logs for TensorBoard that the spec requests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from shared.registry.manifest import TENSORBOARD_FILE
from shared.spec.training import TensorBoard


class GradientHistograms(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a histogram of the gradients of each trainable weight: `gradients/<layer>/<weight>`.

    The gradients are those of the mean loss of one batch, which is the same after every epoch, with the weights at the
    end of the epoch. Dropout is off, so that the histograms change nothing in the training.
    """

    def __init__(self, batch: tuple[tf.Tensor, tf.Tensor], interval: int, folder: Path) -> None:
        super().__init__()
        self._batch = batch
        self._interval = interval
        self._writer = tf.summary.create_file_writer(str(folder), filename_suffix=".gradients")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if epoch % self._interval:
            return
        x, labels = self._batch
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(x=x, y=labels, y_pred=self.model(x, training=False), training=False)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        with self._writer.as_default():
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    tf.summary.histogram(f"gradients/{weight.path}", tf.convert_to_tensor(gradient), step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._writer.close()


def make_tensorboard_callbacks(
    network: keras.Model,
    wanted: TensorBoard | None,
    folder: Path,
    take_batch: Callable[[], tuple[tf.Tensor, tf.Tensor]],
) -> list[keras.callbacks.Callback]:
    """Make the callbacks that write logs to `folder/train` and `folder/validation`, and write the graph.

    The logs contain the scalars of every epoch, and what `wanted` requests. Returns no callback if `wanted` is None.

    Args:
        take_batch: returns the rows (x, labels) whose gradients are logged. It is called only for them.
    """
    if wanted is None:
        return []
    if wanted.graph:
        _write_graph(network, folder / "train")
    gradients = []
    if wanted.gradients:
        gradients.append(GradientHistograms(take_batch(), wanted.histograms, folder / "train"))
    return [
        *gradients,
        keras.callbacks.TensorBoard(
            folder,
            histogram_freq=wanted.histograms,
            write_graph=wanted.graph,
            write_images=wanted.images,
            update_freq="epoch",
            profile_batch=0,
        ),
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
