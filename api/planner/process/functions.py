"""Compute losses and activations with Keras, as a training does."""

import keras
import numpy as np
from numpy.typing import NDArray

from api.planner.messages import Curve, LossRequest, LossValue
from shared.errors import Fault, InvalidRequest
from shared.networks.activations import get_activation
from shared.networks.arguments import convert_arguments, translate_keras_errors
from shared.networks.objectives import FIXED_LOSS_ARGUMENTS, LOSS_CLASSES, LOSSES, LabelForm

REFUSED = "The loss cannot be computed."
EDGE = 5.0
POINTS = 1001
JUMP = 20.0
"""A steeper slope between two points is a jump, where there is no derivative."""
OF_TWO = frozenset({"softmax", "log_softmax", "sparsemax"})
"""Activations over several outputs. They are drawn for x beside 0."""


def compute_loss(loss_request: LossRequest) -> LossValue:
    """Return the loss of some rows. Raises InvalidRequest if the loss does not accept them or its arguments."""
    name, loss_class = loss_request.name, LOSS_CLASSES[loss_request.name]
    y_true, y_pred = (_read_rows(getattr(loss_request, key), key) for key in ("y_true", "y_pred"))
    if LOSSES[name] is LabelForm.SPARSE:
        _check_indices(y_true, y_pred)
    elif y_true.shape != y_pred.shape:
        raise _refuse("y_true", f"`y_true` has the shape {y_true.shape}, and `y_pred` {y_pred.shape}. Make them equal.")
    if LOSSES[name] is LabelForm.CATEGORICAL and y_pred.shape[1] == 1:
        raise _refuse("y_pred", "Each row needs an output for each class: send a list for each row.")
    for key in sorted(FIXED_LOSS_ARGUMENTS & loss_request.arguments.keys()):
        raise _refuse(f"arguments/{key}", "This argument cannot be chosen here. Remove it.")
    # The backend of this process cannot smooth labels in float64: Keras smooths them with a number in float32.
    dtype = "float32" if loss_request.arguments.get("label_smoothing") else "float64"
    try:
        with translate_keras_errors(f"{name} cannot be computed", "#/arguments"):
            arguments = convert_arguments(loss_class, loss_request.arguments, "#/arguments")
            by_row = loss_class(**arguments, reduction="none", dtype=dtype)(y_true.astype(dtype), y_pred.astype(dtype))
    except InvalidRequest as refused:
        raise InvalidRequest(REFUSED, refused.faults) from None
    rows = np.asarray(keras.ops.convert_to_numpy(by_row), np.float64).reshape(len(y_pred), -1).mean(axis=1)
    rows /= np.log(loss_request.log_base) if loss_request.log_base is not None else 1
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows))[0])
        raise _refuse(f"y_pred/{row}", f"The loss of row {row} is not a finite number. Use smaller numbers.")
    return LossValue(loss=float(rows.mean()), rows=rows.tolist())


def sample_activation(name: str) -> Curve:
    """Return the values and the slopes of an activation at equal distances from -EDGE to EDGE."""
    x = np.linspace(-EDGE, EDGE, POINTS, dtype=np.float32)[:, np.newaxis]
    inputs = np.hstack([x, np.zeros_like(x)]) if name in OF_TWO else x
    y = np.asarray(keras.ops.convert_to_numpy(get_activation(name)(keras.ops.convert_to_tensor(inputs))), np.float64)
    slopes = np.diff(y[:, 0]) / np.diff(x[:, 0])
    return Curve(
        x=x[:, 0].tolist(),
        y=y[:, 0].tolist(),
        slopes=[slope if abs(slope) < JUMP or name == "exponential" else None for slope in slopes.tolist()],
    )


def _read_rows(values: list[list[float]] | list[float], key: str) -> NDArray[np.float64]:
    """Return rows, (n, k) float64; numbers alone are rows of one output. Raises InvalidRequest."""
    try:
        rows = np.asarray(values, np.float64)
    except ValueError:
        raise _refuse(key, "The rows do not have the same length.") from None
    return rows.reshape(len(rows), -1)


def _check_indices(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> None:
    """Raise InvalidRequest if the labels are not one class index for each row."""
    count, width = y_pred.shape
    if y_true.shape != (count, 1):
        raise _refuse("y_true", f"`y_pred` has {count} rows: send as many class indices, one for each.")
    for row, number in enumerate(y_true.ravel().tolist()):
        if not (number.is_integer() and 0 <= number < width):
            raise _refuse(f"y_true/{row}", f"{number:g} is not the index of one of {width} classes, 0 to {width - 1}.")


def _refuse(key: str, detail: str) -> InvalidRequest:
    return InvalidRequest(REFUSED, (Fault(f"#/{key}", detail),))
