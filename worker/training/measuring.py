"""Measure a network after its training, on the parts of its data."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.preprocessing.contract import Contract, answers_with_mirror_images
from shared.registry.manifest import Epochs, Metrics
from worker.training.callbacks import replace_non_finite
from worker.training.run import PreparedPart, TrainingRun, make_evaluation_batches, select_rows

MIN_MEASURED_ROWS, MAX_MEASURED_ROWS = 2_500, 10_000
MAX_MEASURED_BYTES = 256 * 2**20
MEASURED_SHARE = 100
"""After the training, rows of the training and of the validation part are measured, evenly spaced: one for each
MEASURED_SHARE rows that the training has read, within these limits.
"""


@dataclass(frozen=True)
class FitSummary:
    """The result of a training.

    Attributes:
        test_outputs: (n, width) float32, the predictions for the test part; None without test rows.
        held_out: labels and outputs of the validation part, else of the test part, at most MAX_MEASURED_ROWS; None
            without such rows.
    """

    metrics: Metrics
    epochs: Epochs
    test_outputs: NDArray[np.float32] | None
    held_out: tuple[NDArray[Any], NDArray[np.float32]] | None


def summarise(run: TrainingRun, kept: int, progress: keras.callbacks.Callback) -> FitSummary:
    """Evaluate the parts, and collect the metrics of the epoch `kept`, from 0, whose weights the network now has.

    `progress` watches the predictions.
    """
    trained = run.state.epoch
    values = replace_non_finite({name: values[kept] for name, values in run.state.history.items()})
    train, validation = _take_sample(run, run.train), _take_sample(run, run.validation)
    train_outputs, validation_outputs, test_outputs = (
        _predict(run, part, progress) for part in (train, validation, run.test)
    )
    monitored = {name.removeprefix("val_"): values[name] for name in values if name.startswith("val_")}
    if not trained or run.has_averages or answers_with_mirror_images(run.contract):
        monitored = _measure_part(run, validation, validation_outputs) or {}
    metrics = Metrics(
        train=_measure_part(run, train, train_outputs) or {},
        last_epoch={name: value for name, value in values.items() if not name.startswith("val_")} or None,
        validation=monitored or None,
        test=_measure_part(run, run.test, test_outputs),
    )
    held_out = None
    if validation_outputs is not None:
        held_out = validation.y, validation_outputs
    elif test_outputs is not None:
        held_out = run.test.y, test_outputs
    epochs = Epochs(asked=run.options.epochs, trained=trained, kept=kept + 1)
    return FitSummary(metrics, epochs, test_outputs, held_out)


def _take_sample(run: TrainingRun, part: PreparedPart) -> PreparedPart:
    """Return the part, or evenly spaced rows of it if it is large."""
    row_bytes = max(1, part.x.dtype.itemsize * math.prod(part.x.shape[1:]))
    count = MAX_MEASURED_ROWS
    if run.options.epochs:
        count = min(count, max(MIN_MEASURED_ROWS, run.state.epoch * len(run.train) // MEASURED_SHARE))
    count = max(1, min(count, MAX_MEASURED_BYTES // row_bytes))
    if len(part) <= count:
        return part
    return select_rows(part, np.linspace(0, len(part) - 1, count).astype(np.int64))


def _predict(run: TrainingRun, part: PreparedPart, progress: keras.callbacks.Callback) -> NDArray[np.float32] | None:
    """Return the outputs for a part, (n, width); None without rows."""
    batches = make_evaluation_batches(run, part)
    if batches is None:
        return None
    return predict_as_served(run.network, batches, run.contract, progress)


def predict_as_served(
    network: keras.Model, batches: tf.data.Dataset, contract: Contract, callback: keras.callbacks.Callback
) -> NDArray[np.float32]:
    """Return the answers for batches (x, labels): (n, width). With `mirror` in the contract, they are means of two."""
    outputs: NDArray[np.float32] = network.predict(batches, callbacks=[callback], verbose=0)
    if answers_with_mirror_images(contract):
        mirrored = batches.map(lambda x, _: x[:, :, ::-1])
        outputs = (outputs + network.predict(mirrored, callbacks=[callback], verbose=0)) / 2
    return outputs


def _measure_part(
    run: TrainingRun, part: PreparedPart, outputs: NDArray[np.float32] | None
) -> dict[str, float | None] | None:
    """Compute the loss and the metrics of a part from its outputs; None without rows."""
    if outputs is None:
        return None
    return measure_outputs(run.network, run.objective.encode_labels(part.y), outputs)


def measure_outputs(
    network: keras.Model, labels: NDArray[Any], outputs: NDArray[np.float32]
) -> dict[str, float | None]:
    """Compute the loss and the metrics as `network.evaluate` does, but from known outputs."""
    network.reset_metrics()
    labels, answers = tf.constant(labels), tf.constant(outputs)
    loss = network.compute_loss(y=labels, y_pred=answers, training=False)
    measured = network.compute_metrics(None, labels, answers)
    return replace_non_finite({name: float(value) for name, value in {**measured, "loss": loss}.items()})
