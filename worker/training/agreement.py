"""Check that the ONNX file of a network computes the outputs of Keras, as far as float32 is exact."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.errors import ExportDisagrees
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME

MAX_TOLERANCE = 0.05
"""A network whose float32 outputs are further from its float64 outputs is refused."""
MARGIN = 2.0
"""Other processors round in another order. Their outputs may differ by this factor more than those of this one."""

logger = logging.getLogger(__name__)


def check_agreement(
    path: Path, network: keras.Model, inputs: NDArray[np.float32], expected: NDArray[np.float32]
) -> float:
    """Check that the ONNX file at `path` computes the outputs that Keras has `expected`, (n, …) float32.

    A difference above TOLERANCE is accepted if it comes from float32 and not from the conversion: the outputs of the
    ONNX file are then no further from the float64 outputs of the network than those of Keras. A sum of a million
    numbers, as in a global average pooling, is an example.

    Returns the largest difference to allow when the version is loaded, in the scale of `compute_max_difference`. Raises
    ExportDisagrees.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answered,) = session.run([OUTPUT_NAME], {INPUT_NAME: inputs})
    difference = compute_max_difference(answered, expected)
    if difference <= TOLERANCE:
        return TOLERANCE
    exact = _compute_in_float64(network, inputs)
    if exact is None:
        raise ExportDisagrees(_describe(difference, "Replace unusual layers one by one to find the cause."))
    keras_error, onnx_error = compute_max_difference(expected, exact), compute_max_difference(answered, exact)
    errors = f"Compared with float64, Keras is off by {keras_error:.2g} and the ONNX file by {onnx_error:.2g}."
    if onnx_error > max(TOLERANCE, MARGIN * keras_error):
        raise ExportDisagrees(_describe(difference, f"{errors} Replace unusual layers one by one to find the cause."))
    if max(keras_error, onnx_error) > MAX_TOLERANCE:
        raise ExportDisagrees(
            _describe(difference, f"{errors} The outputs are too inexact in float32. Sum or scale less in one layer.")
        )
    logger.warning(
        "the outputs of the ONNX file and of Keras differ by %.2g, because float32 rounds large sums. %s",
        difference,
        errors,
    )
    return MARGIN * difference


def _describe(difference: float, reason: str) -> str:
    return (
        f"The outputs of the ONNX file and of Keras differ by {difference:.2g}, and the limit is {TOLERANCE:g}. The "
        f"network cannot be served. {reason}"
    )


def _compute_in_float64(network: keras.Model, inputs: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Compute the outputs of a network whose weights and layers have the type float64.

    Returns None if one of its layers cannot compute in float64.
    """
    try:
        exact = keras.Model.from_config(_replace_dtype(network.get_config()))
        exact.set_weights([weight.astype(np.float64) for weight in network.get_weights()])
        rows = [exact(row[np.newaxis].astype(np.float64), training=False).numpy() for row in inputs]
    except Exception as error:  # noqa: BLE001 - any layer of Keras can refuse the type, each in its own way
        logger.warning("the network could not be computed in float64: %s", error)
        return None
    return np.concatenate(rows)


def _replace_dtype(value: Any) -> Any:  # noqa: ANN401 - the JSON of Keras
    """Return a config of Keras with `float64` in place of every `float32`, also in dtype policies."""
    if isinstance(value, dict):
        return {key: _replace_dtype(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replace_dtype(entry) for entry in value)
    return "float64" if value in ("float32", "mixed_float16", "mixed_bfloat16") else value
