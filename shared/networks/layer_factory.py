"""Make one layer of a network by its class name and its arguments."""

import math
import re
from typing import Any

import keras

from shared.errors import suggest
from shared.networks.arguments import build_error, convert_arguments, translate_keras_errors

LAYERS_POINTER = "#/network/layers"
FIRST_LAYER_POINTER = f"{LAYERS_POINTER}/0"
IMAGE_RANK = 3
"""Height, width and channels."""
MAXOUT = "Maxout"
MIN_PIECES = 2
MAX_PIECES = 16
WHITENING = "Whitening"
WHITENING_ARGUMENTS = ("filters", "kernel_size", "strides", "padding", "name")
WHITENING_KERNEL_SIZE = 3
MAX_PATCH_NUMBERS = 1_000
"""Limit on the numbers of a patch: the worker computes the eigenvectors of their covariance."""


def check_class(name: str, allowed: frozenset[str], pointer: str) -> None:
    """Check that a spec may name a class of layers. Raises InvalidRequest."""
    if name not in allowed:
        raise build_error(
            pointer,
            f"{name!r} is not an allowed layer.{suggest(name, allowed)} Use one of: {', '.join(sorted(allowed))}.",
        )


def check_layer(class_name: str, arguments: dict[str, Any], allowed: frozenset[str], pointer: str) -> None:
    """Check the class and the arguments of a layer, as far as its input does not matter. Raises InvalidRequest."""
    own = {key: value for key, value in arguments.items() if key != "input_shape"}
    if class_name == MAXOUT:
        pieces, _ = split_maxout(own, pointer)
        _create("Dense", pieces[0], pointer, shown=MAXOUT)
    elif class_name == WHITENING:
        _create_whitening(own, pointer)
    else:
        check_class(class_name, allowed, f"{pointer}/layer")
        _create(class_name, own, pointer)


def split_maxout(arguments: dict[str, Any], pointer: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the arguments of the Dense layers of a Maxout, and those of the Maximum of them.

    The most of `pieces` linear functions is an activation that is learned: Goodfellow et al., 2013, arXiv:1302.4389.
    Raises InvalidRequest.
    """
    pieces = arguments.get("pieces", MIN_PIECES)
    if type(pieces) is not int or not MIN_PIECES <= pieces <= MAX_PIECES:
        raise build_error(
            f"{pointer}/pieces", f"{str(pieces)[:100]!r} is not a number of pieces. Use {MIN_PIECES} to {MAX_PIECES}."
        )
    if "activation" in arguments:
        raise build_error(f"{pointer}/activation", "`Maxout` is an activation itself. Remove this argument.")
    rest = {key: value for key, value in arguments.items() if key not in ("pieces", "name")}
    if arguments.get("name") is None:
        return [rest] * pieces, {}
    _check_name(arguments["name"], pointer)
    names = [{"name": f"{arguments['name']}_{number}"} for number in range(1, pieces + 1)]
    return [{**rest, **name} for name in names], {"name": arguments["name"]}


def make_whitening(arguments: dict[str, Any], shape: tuple[int, ...], pointer: str) -> keras.Layer:
    """Make the Conv2D of a `Whitening` for inputs (height, width, channels).

    The worker computes its filters from training images: worker/training/whitening.py. They come in pairs of opposite
    sign, at most two for each number of a patch. Raises InvalidRequest.
    """
    if pointer != FIRST_LAYER_POINTER:
        raise build_error(
            pointer, f"The filters of `Whitening` come from the images. Make it the first layer, {FIRST_LAYER_POINTER}."
        )
    if len(shape) != IMAGE_RANK:
        raise build_error(pointer, f"`Whitening` is for images, and the input has the shape {list(shape)}. Remove it.")
    layer = _create_whitening(arguments, pointer)
    numbers = math.prod(layer.kernel_size) * shape[-1]
    if numbers > MAX_PATCH_NUMBERS:
        raise build_error(
            f"{pointer}/kernel_size",
            f"A patch of {' × '.join(map(str, layer.kernel_size))} pixels with {shape[-1]} channels has {numbers:,} "
            f"numbers, the limit for `Whitening` is {MAX_PATCH_NUMBERS:,}. Use a smaller kernel.",
        )
    most = 2 * numbers
    if arguments.get("filters") is None:
        return _create_whitening({**arguments, "filters": most}, pointer)
    if layer.filters > most or layer.filters % 2:
        raise build_error(
            f"{pointer}/filters",
            f"The filters are {layer.filters}, and a patch of {' × '.join(map(str, layer.kernel_size))} pixels with "
            f"{shape[-1]} channels has at most {most}, in pairs. Use an even number up to {most}.",
        )
    return layer


def _create_whitening(arguments: dict[str, Any], pointer: str) -> keras.Layer:
    for key in arguments:
        if key not in WHITENING_ARGUMENTS:
            raise build_error(
                f"{pointer}/{key}", f"`Whitening` takes {', '.join(WHITENING_ARGUMENTS)}. Remove this argument."
            )
    given = {key: value for key, value in arguments.items() if value is not None}
    if "name" in given:
        _check_name(given["name"], pointer)
    settled = {"filters": 2, "kernel_size": WHITENING_KERNEL_SIZE, **given, "use_bias": False, "trainable": False}
    return _create("Conv2D", settled, pointer, shown=WHITENING)


def make_layer(
    class_name: str,
    arguments: dict[str, Any],
    tensor: Any,  # noqa: ANN401 - keras is untyped
    pointer: str,
    wrapped: dict[str, keras.Layer] | None = None,
    shown: str | None = None,
) -> keras.Layer:
    """Make a layer for an input.

    `wrapped` are the layers inside of a wrapper, by argument. `shown` is its class in the words of errors, if it is not
    the same. Raises InvalidRequest.
    """
    if arguments.get("name") is not None:
        _check_name(arguments["name"], pointer)
    declared = arguments.pop("input_shape", None)
    if declared is not None and declared != list(tensor.shape[1:]):
        raise build_error(
            f"{pointer}/input_shape",
            f"The input of this layer has the shape {list(tensor.shape[1:])}, and it declares {declared}. Remove this "
            "argument.",
        )
    if class_name == "Normalization" and {"mean", "variance"} & arguments.keys():
        class_name, arguments = "Rescaling", _to_rescaling(arguments, len(tensor.shape), pointer)
    if class_name == "Rescaling" and type(arguments.get("offset")) in (int, float):
        arguments["offset"] = [arguments["offset"]]  # tf2onnx does not optimise a network that adds a scalar
    return _create(class_name, arguments, pointer, wrapped, shown)


def _check_name(name: object, pointer: str) -> None:
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name)):
        raise build_error(
            f"{pointer}/name",
            f"{str(name)[:100]!r} is not a layer name. A name has 1 to 100 letters, digits, `_`, `.` or `-`, and "
            "begins with a letter or a digit.",
        )


def _create(
    class_name: str,
    arguments: dict[str, Any],
    pointer: str,
    wrapped: dict[str, keras.Layer] | None = None,
    shown: str | None = None,
) -> keras.Layer:
    """Create a layer. `shown` is its class in the words of errors, if it is not the same."""
    layer_class = getattr(keras.layers, class_name)
    with translate_keras_errors(f"{shown or class_name} cannot be created", pointer):
        return layer_class(**(wrapped or {}), **convert_arguments(layer_class, arguments, pointer))


def _to_rescaling(arguments: dict[str, Any], rank: int, pointer: str) -> dict[str, Any]:
    """Return the arguments of Rescaling that compute what Normalization does with a mean and a variance.

    Raises InvalidRequest for statistics that are not numbers along the last axis.
    """
    mean, variance = (_list_numbers(arguments.get(key)) for key in ("mean", "variance"))
    axis = arguments.get("axis", -1)
    is_last = (axis[0] if isinstance(axis, list) and len(axis) == 1 else axis) in (-1, rank - 1, None)
    if not (is_last and mean and len(mean) == len(variance) and not arguments.get("invert")):
        raise build_error(
            pointer, "Normalization needs a `mean` and a `variance`, both numbers or lists along the last axis."
        )
    deviations = [max(math.sqrt(max(number, 0)), keras.backend.epsilon()) for number in variance]
    scale = [1 / deviation for deviation in deviations]
    offset = [-number / deviation for number, deviation in zip(mean, deviations, strict=True)]
    kept = {key: value for key, value in arguments.items() if key in ("name", "trainable")}
    return {**kept, "scale": scale if len(scale) > 1 else scale[0], "offset": offset if len(offset) > 1 else offset[0]}


def _list_numbers(value: object) -> list[float]:
    """Return a number, or a list of numbers, as a list; an empty one for anything else."""
    numbers: list[Any] = value if isinstance(value, list) else [value]
    is_valid = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    return [float(number) for number in numbers] if is_valid else []
