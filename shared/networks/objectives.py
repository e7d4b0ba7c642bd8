"""What a training aims at: loss and metrics by name, labels in the form that the loss wants, weights of classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from shared.datasets.info import DatasetFacts, TargetKind
from shared.errors import Fault, InvalidRequest
from shared.networks.arguments import keras_errors
from shared.networks.builder import final_activation
from shared.spec.network import Network
from shared.spec.training import Best, Training

TRAINING_AT = "#/training"
PROBABILITIES = frozenset({"softmax", "sigmoid", "hard_sigmoid", "sparsemax", "sparse_sigmoid"})
"""Activations whose outputs lie between 0 and 1, as a classifier's answers must."""
CHOSEN_BY_SHAPE = frozenset({"accuracy", "acc", "crossentropy", "ce"})
"""Metrics that Keras finds only once it sees labels and outputs."""
NO_METRICS = frozenset({"Mean", "MeanMetricWrapper", "Metric", "Sum", "mean", "mean_metric_wrapper", "metric", "sum"})


class Family(StrEnum):
    """Losses by the labels they take."""

    SPARSE = "sparse"  # (n,) int64, the place of the class
    CATEGORICAL = "categorical"  # (n, classes) float32, one-hot
    BINARY = "binary"  # (n, width) float32, a yes or no for each output
    NUMERIC = "numeric"  # (n, width) float32


LOSSES = {
    "sparse_categorical_crossentropy": Family.SPARSE,
    "categorical_crossentropy": Family.CATEGORICAL,
    "categorical_focal_crossentropy": Family.CATEGORICAL,
    "categorical_hinge": Family.CATEGORICAL,
    "binary_crossentropy": Family.BINARY,
    "binary_focal_crossentropy": Family.BINARY,
    "hinge": Family.BINARY,
    "squared_hinge": Family.BINARY,
    "mean_squared_error": Family.NUMERIC,
    "mean_absolute_error": Family.NUMERIC,
    "mean_absolute_percentage_error": Family.NUMERIC,
    "mean_squared_logarithmic_error": Family.NUMERIC,
    "huber": Family.NUMERIC,
    "log_cosh": Family.NUMERIC,
    "poisson": Family.NUMERIC,
    "kl_divergence": Family.NUMERIC,
    "cosine_similarity": Family.NUMERIC,
}
SHORT_NAMES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
}


@dataclass(frozen=True)
class Objective:
    """`classes` are the names the answers carry, none where the network answers numbers; `width` its outputs.

    `values` are the labels that stand for the classes, in their order, where those are not 0, 1, ….
    """

    loss: str
    classes: tuple[str, ...]
    width: int
    values: tuple[int, ...] = ()

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """A part's y, as its facts say, in the form the loss takes."""
        if not self.classes:
            return y.reshape(len(y), self.width).astype(np.float32)
        places = self.places(y)
        if LOSSES[self.loss] is Family.SPARSE:
            return places
        if self.width == 1:
            return places.astype(np.float32)[:, np.newaxis]
        one_hot: NDArray[Any] = np.eye(self.width, dtype=np.float32)[places]
        return one_hot

    def weights(self, y: NDArray[Any], class_weight: Literal["balanced"] | dict[str, float]) -> NDArray[np.float32]:
        """(n,): how much each row counts. `balanced` as scikit-learn has it: rows / (classes × rows of the class)."""
        from sklearn.utils.class_weight import compute_sample_weight  # the API weighs nothing

        if class_weight == "balanced":
            return np.asarray(compute_sample_weight("balanced", self.places(y)), np.float32)
        by_place = np.asarray([class_weight.get(name, 1.0) for name in self.classes], np.float32)
        weights: NDArray[np.float32] = by_place[self.places(y)]
        return weights

    def places(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """A classifier's y, as its facts say, as (n,) places among the classes."""
        if self.values:
            return np.searchsorted(self.values, y).astype(np.int64)
        return (y if y.ndim == 1 else y.argmax(axis=1)).astype(np.int64)


def choose_objective(
    loss: str | None, facts: DatasetFacts, network: Network, output_shape: tuple[int, ...]
) -> Objective:
    """Raises InvalidRequest when network, loss and labels cannot go together, at the one that would have to change."""
    last, activation = final_activation(network)
    if len(output_shape) != 1:
        raise _invalid(last, f"The network ends in {output_shape}: add Flatten or a global pooling, and a Dense layer.")
    width = output_shape[0]
    name = _loss_name(loss) if loss is not None else _default_loss(facts, width, activation)
    classes = _classes(LOSSES[name], facts, width)
    _check_width(name, facts, classes, width, last)
    if classes and activation not in PROBABILITIES:
        detail = f"A classifier answers probabilities, and this ends in `{activation}`: let the last layer have "
        raise _invalid(last, detail + f"`activation: {'sigmoid' if width == 1 else 'softmax'}`.")
    numbers = classes if classes == facts.classes and facts.targets is TargetKind.INTEGERS else ()
    return Objective(name, classes, width, tuple(int(number) for number in numbers))


def check_places(objective: Objective, y: NDArray[Any]) -> None:
    """Whole numbers given inline are classes only if there are outputs for them. Raises InvalidRequest at the first."""
    if not objective.classes or y.ndim != 1:
        return
    outside = np.flatnonzero((y < 0) | (y >= len(objective.classes)))
    if len(outside):
        row = int(outside[0])
        detail = f"Class {y[row]} is none of the network's {len(objective.classes)}, which are numbered from 0."
        raise InvalidRequest("The labels do not fit.", (Fault(f"#/dataset/inline/y/{row}", detail),))


def check_class_weight(class_weight: Literal["balanced"] | dict[str, float] | None, objective: Objective) -> None:
    """Raises InvalidRequest for a class that nobody knows, or where there are none."""
    at = f"{TRAINING_AT}/class_weight"
    if class_weight is not None and not objective.classes:
        raise _invalid(at, "The network answers numbers, and has no classes to weigh: leave it out.")
    for name in class_weight if isinstance(class_weight, dict) else ():
        if name not in objective.classes:
            raise _invalid(f"{at}/{name}", f"There is no class {name!r}; there are {', '.join(objective.classes)}.")


def check_monitors(training: Training, metrics: Sequence[str], validation_rows: int) -> None:
    """Raises InvalidRequest for a monitor that no epoch would report."""
    monitors = {}
    if training.early_stopping is not None:
        monitors["early_stopping/monitor"] = training.early_stopping.monitor
    if isinstance(training.keep, Best):
        monitors["keep/best"] = training.keep.best
    reported = ["loss", *metrics]
    if validation_rows:
        reported += [f"val_{name}" for name in reported]
    for key, monitor in monitors.items():
        if monitor not in reported:
            why = "" if validation_rows else " There are no validation rows."
            raise _invalid(f"{TRAINING_AT}/{key}", f"{monitor!r} is none of {', '.join(reported)}.{why}")


def chosen_metrics(metrics: Sequence[str] | None, objective: Objective) -> list[str]:
    """Raises InvalidRequest for a name that Keras does not know, or that needs arguments."""
    if metrics is None:
        return ["accuracy"] if objective.classes else ["mean_absolute_error"]
    for index, name in enumerate(metrics):
        at = f"{TRAINING_AT}/metrics/{index}"
        if name in NO_METRICS:
            raise _invalid(at, f"{name!r} compares nothing with the labels.")
        if name not in CHOSEN_BY_SHAPE:
            with keras_errors(f"{name!r} cannot be a metric", at):
                keras.metrics.get(name)
    return list(metrics)


def _loss_name(loss: str) -> str:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss).lower()
    name = SHORT_NAMES.get(snake, snake)
    if name not in LOSSES:
        raise _invalid(f"{TRAINING_AT}/loss", f"{loss!r} is no loss to train with: {', '.join(LOSSES)}.")
    return name


def _default_loss(facts: DatasetFacts, width: int, activation: str) -> str:
    if facts.targets is TargetKind.CLASSES or activation == "softmax":
        return "binary_crossentropy" if width == 1 else "sparse_categorical_crossentropy"
    yes_or_no = activation == "sigmoid" and facts.targets in (TargetKind.INTEGERS, TargetKind.ONE_HOT)
    return "binary_crossentropy" if yes_or_no else "mean_squared_error"


def _classes(family: Family, facts: DatasetFacts, width: int) -> tuple[str, ...]:
    numbered = tuple(str(place) for place in range(max(width, 2)))
    match facts.targets:
        case TargetKind.CLASSES:
            return facts.classes
        case TargetKind.INTEGERS:
            if family is Family.NUMERIC:
                return ()
            return numbered if set(facts.classes) <= set(numbered) else facts.classes
        case TargetKind.ONE_HOT:
            return numbered if family in (Family.SPARSE, Family.CATEGORICAL) else ()
        case TargetKind.NUMBERS:
            return ()


def _check_width(loss: str, facts: DatasetFacts, classes: tuple[str, ...], width: int, last: str) -> None:
    family = LOSSES[loss]
    if not classes and family in (Family.SPARSE, Family.CATEGORICAL):
        raise _invalid(
            f"{TRAINING_AT}/loss", f"{loss} needs classes, and the labels are numbers: take mean_squared_error."
        )
    if not classes:
        fits, needed = width == facts.target_width, str(facts.target_width)
    elif family in (Family.SPARSE, Family.CATEGORICAL):
        wanted = facts.target_width if facts.targets is TargetKind.ONE_HOT else len(classes)
        fits, needed = width == wanted, str(wanted)
    else:
        fits, needed = width == len(classes) or (width, len(classes)) == (1, 2), f"{len(classes)}"
        needed = f"1 or {needed}" if len(classes) == 2 else needed  # noqa: PLR2004 - yes and no
    if not fits:
        what = f"{len(classes)} classes with {loss}" if classes else f"targets of {facts.target_width} numbers"
        raise _invalid(last, f"The network ends in {width} outputs, and {what} need {needed}.")


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("Network, loss and labels do not go together.", (Fault(pointer, detail),))
