"""Translate operations on tensors, such as `x / 255.`, to layers of Keras.

`model.to_json()` prints them beside the layers: Keras 3 as operations, Keras 2 as TFOpLambda.
"""

from dataclasses import dataclass
from typing import Any

from shared.errors import Fault, InvalidRequest

OPERATION_MODULES = ("keras.src.ops", "keras.ops", "keras.src.activations", "keras.src.backend")
LAMBDA = "TFOpLambda"
LAMBDA_CLASSES = (LAMBDA, "SlicingOpLambda", "TensorFlowOpLayer")
LAMBDA_OPERATIONS = {
    "math.truediv": "TrueDivide",
    "math.divide": "TrueDivide",
    "math.multiply": "Multiply",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.negative": "Negative",
    "math.not_equal": "NotEqual",
    "__operators__.add": "Add",
    "nn.relu": "Relu",
    "nn.relu6": "Relu6",
    "nn.silu": "Silu",
    "nn.swish": "Silu",
    "nn.softmax": "Softmax",
    "math.sigmoid": "Sigmoid",
    "math.tanh": "Tanh",
}
"""The operations of Keras 3 for the functions of TensorFlow that Keras 2 names."""
ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Negative"})
ACTIVATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "Silu": "silu",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Exp": "exponential",
}
"""Operations that are an activation without arguments: the JSON does not have the arguments of operations."""
REDUCTIONS = {"Mean": "GlobalAveragePooling", "Max": "GlobalMaxPooling"}
REDUCED_AXES = {"[1]": "1D", "[1, 2]": "2D", "[1, 2, 3]": "3D"}
MERGED = {"Add": "Add", "Subtract": "Subtract", "Multiply": "Multiply"}
"""Layers of several inputs for operations of several tensors."""
MAX_NUMBERS = 10_000


@dataclass(frozen=True)
class Tensor:
    """An operand that is the output of a layer, (layer, use)."""

    layer: int
    use: int


Operand = Tensor | float | tuple[float, ...]


@dataclass(frozen=True)
class Translation:
    """The layer that computes an operation: its class, its arguments, and its inputs."""

    class_name: str
    arguments: dict[str, Any]
    inputs: tuple[Tensor, ...]


def is_operation(entry: dict[str, Any]) -> bool:
    """Return whether an entry of the JSON is an operation instead of a layer."""
    module = entry.get("module")
    return entry.get("class_name") in LAMBDA_CLASSES or (
        isinstance(module, str) and module.startswith(OPERATION_MODULES)
    )


def name_operation(entry: dict[str, Any]) -> str:
    """Return the name of an operation, as Keras 3 calls it if it is known."""
    class_name = str(entry.get("class_name"))
    config = entry.get("config")
    if class_name == LAMBDA and isinstance(config, dict):
        function = str(config.get("function"))
        return LAMBDA_OPERATIONS.get(function, function)
    return class_name


def translate_operation(name: str, config: dict[str, Any], operands: list[Operand], pointer: str) -> Translation:
    """Translate an operation on these operands to a layer. Raises InvalidRequest for one that cannot be translated."""
    tensors = tuple(operand for operand in operands if isinstance(operand, Tensor))
    if name in ARITHMETIC and tensors and len(operands) == (1 if name == "Negative" else 2):
        return _translate_arithmetic(name, operands, tensors, pointer)
    if len(tensors) == len(operands) == 1:
        if name in ACTIVATIONS and config.get("axis", -1) == -1:
            return Translation("Activation", {"activation": ACTIVATIONS[name]}, tensors)
        axes = config.get("axis")
        places = REDUCED_AXES.get(str(axes if isinstance(axes, list) else [axes]))
        if name in REDUCTIONS and places is not None:
            return Translation(f"{REDUCTIONS[name]}{places}", {"keepdims": bool(config.get("keepdims"))}, tensors)
    raise build_operation_error(name, pointer)


def build_operation_error(name: str, pointer: str) -> InvalidRequest:
    """Build the error for an operation that is not read."""
    detail = (
        f"The operation {name[:100]!r} on tensors is not read. Use a layer instead: `Rescaling` for arithmetic with "
        "numbers (or `preprocessing.scale`), `Activation`, `Reshape`, `Concatenate`, or another layer of Keras."
    )
    return InvalidRequest("The Keras network cannot be read.", (Fault(pointer, detail),))


def _translate_arithmetic(name: str, operands: list[Operand], tensors: tuple[Tensor, ...], pointer: str) -> Translation:
    """Translate arithmetic: of several tensors to a layer that merges them, with numbers to Rescaling."""
    if len(tensors) == len(operands) > 1:
        if name not in MERGED:
            raise build_operation_error(name, pointer)
        return Translation(MERGED[name], {}, tensors)
    is_second = not isinstance(operands[0], Tensor)
    number = next((operand for operand in operands if not isinstance(operand, Tensor)), -1.0)
    scale: Any = 1.0
    offset: Any = 0.0
    if name in ("Negative", "Multiply"):
        scale = number
    elif name in ("TrueDivide", "Divide") and not is_second and _is_nonzero(number):
        scale = _map(number, lambda value: 1 / value)
    elif name == "Add":
        offset = number
    elif name == "Subtract":
        scale, offset = (-1.0, number) if is_second else (1.0, _map(number, lambda value: -value))
    else:
        raise build_operation_error(name, pointer)
    return Translation("Rescaling", {"scale": _to_json(scale), "offset": _to_json(offset)}, tensors)


def _is_nonzero(number: Any) -> bool:  # noqa: ANN401 - a number or several
    return all(value != 0 for value in (number if isinstance(number, tuple) else (number,)))


def _map(number: Any, function: Any) -> Any:  # noqa: ANN401 - a number or several
    return tuple(map(function, number)) if isinstance(number, tuple) else function(number)


def _to_json(number: Any) -> Any:  # noqa: ANN401 - a number or several
    return list(number) if isinstance(number, tuple) else float(number)
