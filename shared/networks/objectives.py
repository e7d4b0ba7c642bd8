"""Choose the loss and the metrics of a training, encode the labels, and compute the weights of classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.labels import MAX_CLASSES
from shared.errors import Fault, InvalidRequest, suggest
from shared.networks.arguments import convert_arguments, translate_keras_errors
from shared.networks.builder import find_final_activation
from shared.spec.network import NetworkSpec
from shared.spec.training import BestEpoch, LossSpec, TrainingOptions

TRAINING_POINTER = "#/training"
PROBABILITY_ACTIVATIONS = frozenset({"softmax", "sigmoid", "hard_sigmoid", "sparsemax", "sparse_sigmoid", "heaviside"})
"""Activations whose outputs lie between 0 and 1, as the outputs of a classifier must."""
CONSTANT_FOR_ONE = frozenset({"softmax", "sparsemax", "log_softmax"})
"""Activations over the outputs together: of a single output, they are constant."""


class LabelForm(StrEnum):
    """The form of the labels that a loss takes."""

    SPARSE = "sparse"  # (n,) int64, the index of the class
    CATEGORICAL = "categorical"  # (n, classes) float32, one-hot
    BINARY = "binary"  # (n, width) float32, 0 or 1 for each output
    NUMERIC = "numeric"  # (n, width) float32


LOSSES = {
    "sparse_categorical_crossentropy": LabelForm.SPARSE,
    "categorical_crossentropy": LabelForm.CATEGORICAL,
    "categorical_focal_crossentropy": LabelForm.CATEGORICAL,
    "categorical_hinge": LabelForm.CATEGORICAL,
    "binary_crossentropy": LabelForm.BINARY,
    "binary_focal_crossentropy": LabelForm.BINARY,
    "hinge": LabelForm.BINARY,
    "squared_hinge": LabelForm.BINARY,
    "mean_squared_error": LabelForm.NUMERIC,
    "mean_absolute_error": LabelForm.NUMERIC,
    "mean_absolute_percentage_error": LabelForm.NUMERIC,
    "mean_squared_logarithmic_error": LabelForm.NUMERIC,
    "huber": LabelForm.NUMERIC,
    "log_cosh": LabelForm.NUMERIC,
    "poisson": LabelForm.NUMERIC,
    "kl_divergence": LabelForm.NUMERIC,
    "cosine_similarity": LabelForm.NUMERIC,
}
_CAMEL_CASE = {"kl_divergence": "KLDivergence"}
LOSS_CLASSES = {name: getattr(keras.losses, _CAMEL_CASE.get(name, name.title().replace("_", ""))) for name in LOSSES}
"""The Keras class of each loss."""
FIXED_LOSS_ARGUMENTS = frozenset({"name", "reduction", "axis", "ignore_class", "fn", "dtype"})
"""Arguments of losses that a spec cannot set."""
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
    """The loss and the meaning of the outputs.

    Attributes:
        loss: a key of LOSSES.
        arguments: the arguments of the loss.
        activation: that of the outputs.
        classes: the class names, in order of their indices; empty for a regression.
        labels: the names of labels of which a row can have several, in order of the outputs; else empty.
        width: the number of outputs.
        values: the integer label of each class, ascending; if empty, labels are class indices or one-hot.
    """

    loss: str
    classes: tuple[str, ...]
    width: int
    values: tuple[int, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "linear"
    labels: tuple[str, ...] = ()

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Return the shape of an encoded label."""
        return () if self.classes and LOSSES[self.loss] is LabelForm.SPARSE else (self.width,)

    def make_loss(self) -> str | keras.losses.Loss:
        """Return the loss for Keras: its name if it has no arguments."""
        if not self.arguments:
            return self.loss
        loss: keras.losses.Loss = LOSS_CLASSES[self.loss](**self.arguments)
        return loss

    def encode_labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Convert the labels of a part to the form that the loss takes: see LabelForm."""
        if not self.classes:
            return y.reshape(len(y), self.width).astype(np.float32)
        indices = self.to_class_indices(y)
        if LOSSES[self.loss] is LabelForm.SPARSE:
            return indices
        if self.width == 1:
            return indices.astype(np.float32)[:, np.newaxis]
        one_hot: NDArray[Any] = np.eye(self.width, dtype=np.float32)[indices]
        return one_hot

    def compute_weights(
        self, y: NDArray[Any], class_weight: Literal["balanced"] | dict[str, float]
    ) -> NDArray[np.float32]:
        """Return the weight of each row, (n,).

        `balanced` is that of scikit-learn: rows / (classes × rows of the class). A class without a weight has 1.
        """
        from sklearn.utils.class_weight import compute_sample_weight  # imported here: the API computes no weights

        if class_weight == "balanced":
            return np.asarray(compute_sample_weight("balanced", self.to_class_indices(y)), np.float32)
        weight_by_index = np.asarray([class_weight.get(name, 1.0) for name in self.classes], np.float32)
        weights: NDArray[np.float32] = weight_by_index[self.to_class_indices(y)]
        return weights

    def to_class_indices(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Convert the labels of a classifier, (n,) integers or (n, classes) one-hot, to class indices (n,)."""
        if self.values:
            return np.searchsorted(self.values, y).astype(np.int64)
        return (y if y.ndim == 1 else y.argmax(axis=1)).astype(np.int64)


def find_appended_activation(loss: str | LossSpec | None, network: NetworkSpec) -> str | None:
    """Return the activation that is appended to a network for `from_logits: true`; None without it.

    The loss is then computed from its outputs, which is the same: Keras finds the logits before the activation.
    Raises InvalidRequest if the network has an activation already, or for a loss that does not take logits.
    """
    if not isinstance(loss, LossSpec) or loss.arguments.get("from_logits") in (None, False):
        return None
    at = f"{TRAINING_POINTER}/loss/from_logits"
    name = _parse_loss_name(loss.name)
    if loss.arguments["from_logits"] is not True or not name.endswith("crossentropy"):
        raise _build_error(at, "`from_logits` is true or false, and only for a crossentropy. Remove it.")
    _, activation = find_final_activation(network)
    if activation != "linear":
        raise _build_error(at, f"The network ends in `{activation}`, so its outputs are no logits. Remove this key.")
    return "sigmoid" if LOSSES[name] is LabelForm.BINARY else "softmax"


def choose_objective(
    loss: str | LossSpec | None, info: DatasetInfo, network: NetworkSpec, output_shape: tuple[int, ...]
) -> Objective:
    """Choose the loss and the classes by the spec, the labels and the last layer.

    `output_shape` does not contain the batch. Raises InvalidRequest, at the key to change, if network, loss and labels
    do not fit together.
    """
    last_layer_pointer, activation = find_final_activation(network)
    activation = find_appended_activation(loss, network) or activation
    if len(output_shape) != 1:
        raise _build_error(
            last_layer_pointer,
            f"The network ends in an output of shape {output_shape}, which must have one dimension. "
            "Add Flatten or a global pooling layer, and a Dense layer.",
        )
    width = output_shape[0]
    if width == 1 and activation in CONSTANT_FOR_ONE:
        raise _build_error(
            last_layer_pointer,
            f"`{activation}` of one output is the same for every input. Use `activation: sigmoid` for one output, or "
            "one output for each class.",
        )
    name, arguments = _read_loss(loss) if loss is not None else (_choose_loss(info, width, activation), {})
    classes = _choose_classes(LOSSES[name], info, width, activation)
    if len(classes) > MAX_CLASSES:
        raise _build_error(
            last_layer_pointer,
            f"The network has {width:,} classes; the limit is {MAX_CLASSES:,}. Use fewer classes, or a regression.",
        )
    _check_width(name, info, classes, width, last_layer_pointer)
    if classes and activation not in PROBABILITY_ACTIVATIONS:
        detail = f"A classifier must output probabilities, and this one ends in `{activation}`. Give the last layer "
        detail += f"`activation: {'sigmoid' if width == 1 else 'softmax'}`, or say `from_logits: true`."
        raise _build_error(last_layer_pointer, detail)
    numbers = classes if classes == info.classes and info.targets is TargetKind.INTEGERS else ()
    labels = _choose_labels(name, info, classes, activation, last_layer_pointer)
    return Objective(name, classes, width, tuple(int(number) for number in numbers), arguments, activation, labels)


def _read_loss(loss: str | LossSpec) -> tuple[str, dict[str, Any]]:
    """Return the name of a loss and its checked arguments, without `from_logits`. Raises InvalidRequest."""
    if isinstance(loss, str):
        return _parse_loss_name(loss), {}
    at = f"{TRAINING_POINTER}/loss"
    name = _parse_loss_name(loss.name)
    arguments = {key: value for key, value in loss.arguments.items() if key != "from_logits"}
    for key in sorted(FIXED_LOSS_ARGUMENTS & arguments.keys()):
        raise _build_error(f"{at}/{key}", "This argument follows from the network and its labels. Remove it.")
    loss_class = LOSS_CLASSES[name]
    with translate_keras_errors(f"{loss_class.__name__} cannot be created", at):
        arguments = convert_arguments(loss_class, arguments, at)
        loss_class(**arguments)
    return name, arguments


def check_class_weight(class_weight: Literal["balanced"] | dict[str, float] | None, objective: Objective) -> None:
    """Check that `class_weight` names only classes of the data. Raises InvalidRequest, also for a regression."""
    at = f"{TRAINING_POINTER}/class_weight"
    if class_weight is not None and not objective.classes:
        raise _build_error(at, "`class_weight` needs one class for each row. Remove it.")
    for name in class_weight if isinstance(class_weight, dict) else ():
        if name not in objective.classes:
            raise _build_error(
                f"{at}/{name}", f"There is no class {name!r}. The classes are {', '.join(objective.classes)}."
            )


def check_monitors(training: TrainingOptions, metrics: Sequence[str], validation_rows: int) -> None:
    """Check that each epoch reports the values that are monitored. Raises InvalidRequest."""
    monitors = {}
    if training.early_stopping is not None:
        monitors["early_stopping/monitor"] = training.early_stopping.monitor
    if training.reduce_lr_on_plateau is not None:
        monitors["reduce_lr_on_plateau/monitor"] = training.reduce_lr_on_plateau.monitor
    if isinstance(training.keep, BestEpoch):
        monitors["keep/best"] = training.keep.best
    reported = ["loss", *metrics]
    if validation_rows:
        reported += [f"val_{name}" for name in reported]
    for key, monitor in monitors.items():
        if monitor not in reported:
            why = "" if validation_rows else " `val_` metrics are not reported: there are no validation rows."
            raise _build_error(
                f"{TRAINING_POINTER}/{key}",
                f"{monitor!r} is not a value that an epoch reports. Use one of: {', '.join(reported)}.{why}",
            )


def _parse_loss_name(loss: str) -> str:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss).lower()
    name = SHORT_NAMES.get(snake, snake)
    if name not in LOSSES:
        detail = f"{loss!r} is not an allowed loss.{suggest(loss, LOSSES)}"
        raise _build_error(f"{TRAINING_POINTER}/loss", f"{detail} Use one of: {', '.join(LOSSES)}.")
    return name


def _choose_loss(info: DatasetInfo, width: int, activation: str) -> str:
    if info.targets is TargetKind.CLASSES or activation == "softmax":
        return "binary_crossentropy" if width == 1 else "sparse_categorical_crossentropy"
    yes_or_no = activation in PROBABILITY_ACTIVATIONS - CONSTANT_FOR_ONE and info.targets in (
        TargetKind.INTEGERS,
        TargetKind.ONE_HOT,
        TargetKind.MULTI_LABEL,
    )
    return "binary_crossentropy" if yes_or_no else "mean_squared_error"


def _choose_classes(family: LabelForm, info: DatasetInfo, width: int, activation: str) -> tuple[str, ...]:
    numbered = tuple(str(index) for index in range(min(max(width, 2), MAX_CLASSES + 1)))
    match info.targets:
        case TargetKind.CLASSES:
            return info.classes
        case TargetKind.INTEGERS:
            if family is LabelForm.NUMERIC:
                return ()
            return numbered if set(info.classes) <= set(numbered) else info.classes
        case TargetKind.ONE_HOT:
            is_one_class = family in (LabelForm.SPARSE, LabelForm.CATEGORICAL) or activation == "softmax"
            return info.classes or numbered if is_one_class else ()
        case TargetKind.MULTI_LABEL | TargetKind.NUMBERS:
            return ()


def _choose_labels(
    loss: str, info: DatasetInfo, classes: tuple[str, ...], activation: str, last_layer_pointer: str
) -> tuple[str, ...]:
    """Return the names of the labels, if a row can have several of them: columns of 0 and 1, each with a probability.

    Raises InvalidRequest if the outputs are no probabilities.
    """
    is_marked = info.targets in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL) and info.target_width > 1
    if classes or not is_marked or loss not in ("binary_crossentropy", "binary_focal_crossentropy"):
        return ()
    if activation not in PROBABILITY_ACTIVATIONS - CONSTANT_FOR_ONE:
        raise _build_error(
            last_layer_pointer,
            f"Rows with several labels need a probability for each, and the network ends in `{activation}`. Give the "
            "last layer `activation: sigmoid`.",
        )
    return info.classes or tuple(map(str, range(info.target_width)))


def _check_width(loss: str, info: DatasetInfo, classes: tuple[str, ...], width: int, last_layer_pointer: str) -> None:
    family = LOSSES[loss]
    if info.targets is TargetKind.MULTI_LABEL and family in (LabelForm.SPARSE, LabelForm.CATEGORICAL):
        raise _build_error(
            f"{TRAINING_POINTER}/loss",
            f"{loss} needs one class in each row, and the rows have several labels. Use binary_crossentropy, and "
            "`activation: sigmoid` in the last layer.",
        )
    if not classes and family in (LabelForm.SPARSE, LabelForm.CATEGORICAL):
        raise _build_error(
            f"{TRAINING_POINTER}/loss", f"{loss} needs classes, and the labels are numbers. Use mean_squared_error."
        )
    if not classes:
        fits, needed = width == info.target_width, str(info.target_width)
    elif family in (LabelForm.SPARSE, LabelForm.CATEGORICAL):
        wanted = info.target_width if info.targets is TargetKind.ONE_HOT else len(classes)
        fits, needed = width == wanted, str(wanted)
    else:
        fits, needed = width == len(classes) or (width, len(classes)) == (1, 2), f"{len(classes)}"
        needed = f"1 or {needed}" if len(classes) == 2 else needed  # noqa: PLR2004 - one sigmoid can tell two apart
    if not fits:
        what = f"{len(classes)} classes with {loss}" if classes else f"targets of {info.target_width} numbers"
        raise _build_error(
            last_layer_pointer,
            f"The network ends in {width} outputs, and {what} need {needed}. Change the units of the last layer.",
        )


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("Network, loss and labels do not fit together.", (Fault(pointer, detail),))
