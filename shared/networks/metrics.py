"""Make the metrics of a training, and give each the labels and the outputs that it wants.

A loss chooses the form of the labels: class indices, one-hot or numbers. A metric of Keras wants one form, and computes
nonsense from another. Depends on no Keras backend.
"""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import keras
import numpy as np

from shared.errors import suggest
from shared.networks.arguments import build_error, convert_arguments, translate_keras_errors
from shared.networks.objectives import LOSSES, PROBABILITY_ACTIVATIONS, LabelForm, Objective
from shared.spec.training import MetricSpec

POINTER = "#/training/metrics"
CHOSEN_BY_SHAPE = frozenset({"accuracy", "acc", "crossentropy", "ce"})
"""Metrics that Keras chooses by the shapes of labels and outputs. They are not looked up by name."""
LOWEST_IS_BEST = frozenset({"FalsePositives", "FalseNegatives", "KLDivergence", "Poisson"})
"""Metrics whose best value is the lowest. Of others for which Keras does not say it, it is the highest."""
OF_LABELS = {
    **dict.fromkeys(("accuracy", "acc"), keras.metrics.BinaryAccuracy),
    **dict.fromkeys(("crossentropy", "ce"), keras.metrics.BinaryCrossentropy),
}
"""The classes of CHOSEN_BY_SHAPE if a row can have several labels: by the shapes, Keras looks for a single class."""
UNUSABLE_METRICS = frozenset({"Mean", "MeanMetricWrapper", "Metric", "Sum"})
"""Base classes and reductions, which do not compare outputs with labels."""
FIXED_ARGUMENTS = frozenset({"dtype", "from_logits", "sparse_y_true", "sparse_y_pred", "axis"})
"""Arguments that follow from the network: its outputs are probabilities, one for each class, along the last axis."""
COUNTING = frozenset({"MeanIoU", "OneHotMeanIoU", "IoU", "OneHotIoU"})
"""Metrics with the argument `num_classes`."""
ACRONYMS = {"auc": "AUC", "io_u": "IoU", "iou": "IoU", "mean_iou": "MeanIoU", "binary_iou": "BinaryIoU"}


class MetricForm(StrEnum):
    """What a metric wants as labels and outputs."""

    NUMBERS = "numbers"  # both (n, k): numbers, or one-hot and probabilities
    COLUMNS = "columns"  # both (n, k), with a column for each class
    INDICES = "indices"  # labels (n, 1), the index of the class; outputs (n, classes)
    DECISIONS = "decisions"  # both (n, 1), indices of classes
    SCORES = "scores"  # both (n, k): 0 or 1, and probabilities


FORMS = {
    **dict.fromkeys(
        ("CategoricalAccuracy", "CategoricalCrossentropy", "CategoricalHinge", "TopKCategoricalAccuracy"),
        MetricForm.COLUMNS,
    ),
    **dict.fromkeys(("OneHotIoU", "OneHotMeanIoU"), MetricForm.COLUMNS),
    **dict.fromkeys(
        ("SparseCategoricalAccuracy", "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy"),
        MetricForm.INDICES,
    ),
    **dict.fromkeys(("Accuracy", "IoU", "MeanIoU"), MetricForm.DECISIONS),
    **dict.fromkeys(
        (
            "AUC",
            "BinaryAccuracy",
            "BinaryCrossentropy",
            "BinaryIoU",
            "F1Score",
            "FBetaScore",
            "FalseNegatives",
            "FalsePositives",
            "Precision",
            "PrecisionAtRecall",
            "Recall",
            "RecallAtPrecision",
            "SensitivityAtSpecificity",
            "SpecificityAtSensitivity",
            "TrueNegatives",
            "TruePositives",
        ),
        MetricForm.SCORES,
    ),
}
"""The form that a metric wants. All others want numbers."""
CORRELATIONS = ("ConcordanceCorrelation", "PearsonCorrelation")
AVERAGED = ("F1Score", "FBetaScore")
FUNCTIONS = {
    "mse": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "kld": "KLDivergence",
    "bce": "BinaryCrossentropy",
    "log_cosh": "LogCoshError",
    "logcosh": "LogCoshError",
    "rmse": "RootMeanSquaredError",
    "top_k_accuracy": "TopKCategoricalAccuracy",
    "f1": "F1Score",
    "r2": "R2Score",
}
"""Short names of metrics, by the class."""


@dataclass(frozen=True)
class LabelAdapter:
    """Converts the labels and outputs of a classifier to the form that a metric wants.

    Attributes:
        is_sparse: whether the labels are class indices; else one-hot, or (n, 1) for one output.
        is_single: whether the network has one output, the probability of the second of two classes.
        width: number of classes.
    """

    form: MetricForm
    is_sparse: bool
    is_single: bool
    width: int

    @property
    def is_needed(self) -> bool:
        """Return whether the metric wants another form than the loss."""
        if self.form is MetricForm.DECISIONS:
            return True
        if self.form is MetricForm.INDICES:
            return self.is_single or not self.is_sparse
        return (self.is_sparse and not self.is_single) or (self.is_single and self.form is MetricForm.COLUMNS)

    def adapt(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:  # noqa: ANN401 - tensors
        """Convert the labels and outputs of a batch."""
        has_columns = not (self.is_sparse or self.is_single)
        if self.form in (MetricForm.INDICES, MetricForm.DECISIONS):
            indices = keras.ops.argmax(y_true, axis=-1) if has_columns else y_true
            labels = keras.ops.cast(keras.ops.reshape(indices, (-1, 1)), "int32")
        else:
            flat = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32") if not has_columns else None
            labels = y_true if flat is None else keras.ops.one_hot(flat, self.width, dtype="float32")
        outputs = keras.ops.concatenate([1 - y_pred, y_pred], axis=-1) if self.is_single else y_pred
        if self.form is MetricForm.DECISIONS:
            outputs = keras.ops.expand_dims(keras.ops.argmax(outputs, axis=-1), -1)
        return labels, outputs


class AdaptedMetric(keras.metrics.Metric):  # type: ignore[misc]
    """A metric that gets its labels and outputs in the form that it wants."""

    def __init__(self, inner: keras.metrics.Metric, adapter: LabelAdapter) -> None:
        super().__init__(name=inner.name)
        self._inner = inner
        self._adapter = adapter
        self._direction = inner._direction  # noqa: SLF001 - where callbacks of Keras look

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        """Add a batch."""
        self._inner.update_state(*self._adapter.adapt(y_true, y_pred), sample_weight=sample_weight)

    def result(self) -> Any:  # noqa: ANN401 - a tensor
        """Return the value."""
        return self._inner.result()

    def reset_state(self) -> None:
        """Begin anew."""
        self._inner.reset_state()


def make_metrics(metrics: Sequence[str | MetricSpec] | None, objective: Objective) -> list[str | keras.metrics.Metric]:
    """Make the metrics of a spec; accuracy for classes and mean_absolute_error for numbers if it has none.

    Raises InvalidRequest for a name that Keras does not know, for arguments that the metric does not take, and for a
    metric that cannot be computed from these labels and outputs.
    """
    if metrics is None:
        metrics = ["accuracy" if objective.classes or objective.labels else "mean_absolute_error"]
    made: list[str | keras.metrics.Metric] = []
    names: set[str] = set()  # Keras itself names those that are chosen by shape, so that they come first
    for index, given in enumerate(metrics):
        if given in CHOSEN_BY_SHAPE:
            if given in names:
                raise build_error(f"{POINTER}/{index}", f"The metric {given!r} occurs twice. Remove one of them.")
            names.add(str(given))
    for index, given in enumerate(metrics):
        made.append(_make_metric(given, objective, f"{POINTER}/{index}", names))
    return made


def name_metric(metric: str | keras.metrics.Metric) -> str:
    """Return the name under which an epoch reports a metric."""
    return metric if isinstance(metric, str) else str(metric.name)


def find_metric_class(name: str) -> type[keras.metrics.Metric] | None:
    """Return the Keras class of a metric, by its name or that of its function; None for an unknown name."""
    camel = "".join(part[:1].upper() + part[1:] for part in re.split(r"[_\s-]+", name))
    for candidate in (name, FUNCTIONS.get(name.lower()), ACRONYMS.get(name.lower()), camel):
        if candidate is not None and candidate not in UNUSABLE_METRICS:
            found = _list_classes().get(candidate.lower().replace("_", ""))
            if found is not None:
                return found
    return None


def list_metric_names() -> list[str]:
    """List the classes of metrics that a spec may name."""
    return sorted(found.__name__ for found in _list_classes().values())


def _list_classes() -> dict[str, type[keras.metrics.Metric]]:
    return {
        name.lower(): found
        for name, found in inspect.getmembers(keras.metrics, inspect.isclass)
        if name not in UNUSABLE_METRICS
    }


def _make_metric(given: str | MetricSpec, objective: Objective, at: str, names: set[str]) -> str | keras.metrics.Metric:
    name, arguments = (given, {}) if isinstance(given, str) else (given.name, given.arguments)
    if name in CHOSEN_BY_SHAPE and not arguments:
        return OF_LABELS[name](name=name) if objective.labels else name
    metric_class = find_metric_class(name)
    if _to_snake_case(name) in map(_to_snake_case, UNUSABLE_METRICS):
        raise build_error(at, f"{name!r} does not compare outputs with labels. Use another metric.")
    if metric_class is None:
        known = [*list_metric_names(), *sorted(CHOSEN_BY_SHAPE)]
        did_you_mean = suggest(name, known)
        raise build_error(at, f"{name!r} is not an allowed metric.{did_you_mean} Use one of: {', '.join(known)}.")
    kind = metric_class.__name__
    form = FORMS.get(kind, MetricForm.NUMBERS)
    _check_form(kind, form, objective, at)
    for key in sorted(FIXED_ARGUMENTS & arguments.keys()):
        raise build_error(f"{at}/{key}", "This argument follows from the network and its labels. Remove it.")
    class_id = arguments.get("class_id")
    if isinstance(class_id, int) and not 0 <= class_id < objective.width:
        raise build_error(f"{at}/class_id", f"{class_id} is no output: the network has {objective.width}, from 0.")
    shown = _add_name(name if name != kind else _to_snake_case(kind), names)
    chosen = {"name": shown, **_choose_arguments(kind, objective), **arguments}
    with translate_keras_errors(f"{kind} cannot be created", at):
        inner = metric_class(**convert_arguments(metric_class, chosen, at))
    if kind in AVERAGED and inner.average is None:
        raise build_error(f"{at}/average", "A metric must be one number. Use `macro`, `micro` or `weighted`.")
    is_sparse = LOSSES[objective.loss] is LabelForm.SPARSE
    adapter = LabelAdapter(form, is_sparse, objective.width == 1, max(objective.width, 2))
    if getattr(inner, "_direction", None) is None:
        inner._direction = "down" if kind in LOWEST_IS_BEST else "up"  # noqa: SLF001 - where callbacks of Keras look
    metric = AdaptedMetric(inner, adapter) if objective.classes and adapter.is_needed else inner
    if arguments:
        _try_metric(metric, objective, at)
    return metric


def _try_metric(metric: keras.metrics.Metric, objective: Objective, at: str) -> None:
    """Compute a metric for one row: some arguments are wrong only for these outputs. Raises InvalidRequest."""
    labels = np.zeros((1, *objective.label_shape), np.float32)
    with translate_keras_errors(f"{metric.name} cannot be computed", at):
        metric.update_state(labels, np.full((1, objective.width), 1 / objective.width, np.float32))
        shape = tuple(keras.ops.shape(metric.result()))
        metric.reset_state()
    if shape:
        raise build_error(at, f"{metric.name} has {shape[0]} values, and must have one. Change its arguments.")


def _add_name(name: str, names: set[str]) -> str:
    """Add a name under which an epoch reports a metric; a second metric of a name gets the suffix `_2`."""
    unique, number = name, 1
    while unique in names:
        number += 1
        unique = f"{name}_{number}"
    names.add(unique)
    return unique


def _to_snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _choose_arguments(kind: str, objective: Objective) -> dict[str, Any]:
    """Return the arguments that follow from the labels, and that a spec can replace."""
    if kind in COUNTING and objective.classes:
        return {"num_classes": len(objective.classes)}
    if kind == "AUC" and objective.labels:
        return {"multi_label": True, "num_labels": objective.width}
    if kind in AVERAGED:
        is_scored = objective.width == 1 or not objective.classes
        return {"average": "macro", **({"threshold": 0.5} if is_scored else {})}
    return {}


def _check_form(kind: str, form: MetricForm, objective: Objective, at: str) -> None:
    """Check that the metric can be computed from the labels and the outputs. Raises InvalidRequest."""
    if kind in CORRELATIONS and objective.width == 1:
        raise build_error(at, f"`{kind}` compares the outputs of a row with each other, and there is one. Remove it.")
    if objective.classes or form is MetricForm.NUMBERS:
        return
    if form is not MetricForm.SCORES:
        raise build_error(at, f"`{kind}` needs one class for each row. Remove it.")
    if objective.activation not in PROBABILITY_ACTIVATIONS:
        raise build_error(
            at,
            f"`{kind}` needs outputs between 0 and 1, and the network ends in `{objective.activation}`. Give its last "
            "layer `activation: sigmoid`, or remove the metric.",
        )
