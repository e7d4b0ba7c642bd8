"""Hold the network, the data and the options of one training."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.datasets.row_files import MappedRows
from shared.networks.objectives import Objective
from shared.preprocessing.contract import Contract
from shared.spec.training import Precision, TrainingOptions, TrainingSpec
from worker.training.checkpoints.format import TrainingState
from worker.training.checkpoints.manager import CheckpointManager
from worker.training.context import TrainingContext
from worker.training.input.pipeline import count_steps, make_ordered_batches

MIN_EVALUATION_BATCH = 256
"""Minimum batch size of an evaluation: larger batches are faster."""


@dataclass(frozen=True)
class PreparedPart:
    """A part of the data set, preprocessed except for the normalisation of x.

    Attributes:
        x: (n, *input_shape), uint8 for images, int32 for texts, else float32.
        y: the labels of the data set, (n,) int64 or (n, k) float32.
        weights: the weight of each row in the loss, (n,) float32; None if all weigh the same.
    """

    x: NDArray[Any] | MappedRows
    y: NDArray[Any]
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class TrainingRun:
    """The network, the data and the options of one training."""

    network: keras.Model
    train: PreparedPart
    validation: PreparedPart
    test: PreparedPart
    contract: Contract
    objective: Objective
    spec: TrainingSpec
    precision: Precision
    context: TrainingContext
    checkpoints: CheckpointManager

    @property
    def options(self) -> TrainingOptions:
        return self.spec.training

    @property
    def state(self) -> TrainingState:
        return self.checkpoints.state

    @property
    def steps_per_epoch(self) -> int:
        return count_steps(len(self.train), self.options.batch_size)

    @property
    def has_averages(self) -> bool:
        """Return whether the averages of the weights over the steps are published. Keras takes them at the end."""
        optimizer = self.network.optimizer
        return bool(getattr(optimizer, "inner_optimizer", optimizer).use_ema)  # of a LossScaleOptimizer

    @property
    def evaluation_batch_size(self) -> int:
        return max(self.options.batch_size, MIN_EVALUATION_BATCH)

    def make_columns(self) -> list[NDArray[Any]]:
        """Return the labels of the training part and, if rows or classes are weighted, the row weights (n,) float32."""
        weights = self.train.weights
        if self.options.class_weight is not None:
            of_classes = self.objective.compute_weights(self.train.y, self.options.class_weight)
            weights = of_classes if weights is None else weights * of_classes
        labels = self.objective.encode_labels(self.train.y)
        return [labels] if weights is None else [labels, weights]


def make_evaluation_batches(run: TrainingRun, part: PreparedPart) -> tf.data.Dataset | None:
    """Make the batches of a part, in the order of its rows. Returns None for a part without rows."""
    if not len(part):
        return None
    labels = run.objective.encode_labels(part.y)
    return make_ordered_batches(part.x, labels, run.contract.normalisation, run.evaluation_batch_size)


def take_first_batch(run: TrainingRun) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first rows of the training part as one batch: x as the network takes it, and the labels."""
    first = select_rows(run.train, np.arange(min(len(run.train), run.options.batch_size)))
    labels = run.objective.encode_labels(first.y)
    x, encoded = next(iter(make_ordered_batches(first.x, labels, run.contract.normalisation, len(first))))
    return x, encoded


def select_rows(part: PreparedPart, rows: NDArray[np.int64]) -> PreparedPart:
    """Return some rows of a part, without their weights. `rows` are their indices, (n,) int64."""
    return PreparedPart(part.x.read(rows) if isinstance(part.x, MappedRows) else part.x[rows], part.y[rows])
