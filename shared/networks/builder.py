"""Build a Keras network from the layers of a spec.

Depends on no Keras backend: the API builds with OpenVINO, the worker with TensorFlow.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

import keras

from shared.errors import suggest
from shared.networks.allow_list import FIXED_ARGUMENTS, LAYERS, MERGE_LAYERS, PROBABILITY_PRESERVING_LAYERS
from shared.networks.arguments import build_error, convert_arguments, translate_keras_errors
from shared.networks.keras_json import KerasJson, parse_keras_json
from shared.networks.layer_row import LayerRow
from shared.spec.network import MAX_LAYERS, LayerSpec, NetworkSpec

LAYERS_POINTER = "#/network/layers"
FIRST_LAYER_POINTER = f"{LAYERS_POINTER}/0"
MAX_ELEMENTS = 2**31
"""Limit on the elements of one layer's output for one input. No device has memory for more."""


def build_network(
    network: NetworkSpec, input_shape: tuple[int, ...], name: str, appended: str | None = None
) -> keras.Model:
    """Build the network with random weights, and append an activation after its last layer.

    Raises InvalidRequest, with Keras's message, if it cannot be built.
    """
    inputs = keras.Input(shape=input_shape, name="input")
    outputs = [inputs, *(output for _, _, output in _apply_network(network, inputs, appended))][-1]
    return keras.Model(inputs, outputs, name=name)


def compute_layer_table(
    network: NetworkSpec, input_shape: tuple[int, ...], max_parameters: int, appended: str | None = None
) -> list[LayerRow]:
    """Return the layer table of the network that `build_network` would build. Allocates no weights.

    Raises InvalidRequest if the network cannot be built, has more than `max_parameters` parameters, or has an output
    that is too large or of undefined size.
    """
    table: dict[str, LayerRow] = {}
    total = 0
    with _skip_allocation():
        inputs = keras.Input(shape=input_shape, name="input")
        for pointer, layer, output in _apply_network(network, inputs, appended):
            _check_defined_shape(layer, output, pointer)
            row = _describe_layer(layer, output)
            total += row.parameters if row.name not in table else 0  # a layer that is used twice has its weights once
            _check_size(row, total, max_parameters, pointer)
            table.pop(row.name, None)  # a row moves to the layer's last use: the last row is the output's
            table[row.name] = row
    return list(table.values())


def find_final_activation(network: NetworkSpec) -> tuple[str, str]:
    """Return the JSON pointer of the last layer, and the last activation before the output (`linear` without one)."""
    if network.layers is not None:
        chain = [(layer.layer, layer.arguments) for layer in network.layers]
        pointer = f"{LAYERS_POINTER}/{len(chain) - 1}"
    else:
        read = parse_keras_json(network.keras or {}, MAX_LAYERS)
        index = len(read.calls) - 1
        pointer, chain = read.layers[read.calls[index].layer].pointer, []
        while read.calls[index].inputs:
            layer = read.layers[read.calls[index].layer]
            chain.insert(0, (layer.class_name, layer.arguments))
            index = read.calls[index].inputs[0]
    for name, arguments in reversed(chain):
        if name == "Softmax":
            return pointer, "softmax"
        if name not in PROBABILITY_PRESERVING_LAYERS:
            return pointer, str(arguments.get("activation") or "linear")
    return pointer, "linear"


def describe_layers(network: keras.Model) -> list[LayerRow]:
    """Return the layer table of a built network, without its input layer."""
    return [_describe_layer(layer, layer.output) for layer in network.layers[1:]]


def _describe_layer(layer: keras.Layer, output: Any) -> LayerRow:  # noqa: ANN401 - keras is untyped
    trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    shape = tuple(output.shape[1:])
    return LayerRow(
        name=layer.name,
        type=type(layer).__name__,
        output_shape=shape,
        parameters=layer.count_params(),
        trainable_parameters=trainable,
    )


def _check_defined_shape(layer: keras.Layer, output: Any, pointer: str) -> None:  # noqa: ANN401 - keras is untyped
    if None in output.shape[1:]:
        detail = (
            f"{type(layer).__name__} has an output with an undefined dimension: {tuple(output.shape[1:])}. "
            "Change the arguments so that each dimension has a size."
        )
        raise build_error(pointer, detail)


def _check_size(row: LayerRow, total: int, max_parameters: int, pointer: str) -> None:
    if total > max_parameters:
        detail = (
            f"With {row.type} the network has {total:,} parameters, the limit (TRAINYARD_MAX_PARAMETERS) is "
            f"{max_parameters:,}. Use fewer or smaller layers."
        )
        raise build_error(pointer, detail)
    if math.prod(row.output_shape) > MAX_ELEMENTS:
        raise build_error(
            pointer,
            f"{row.type} has an output of shape {row.output_shape} for one input, more than a device can hold. "
            f"The limit is {MAX_ELEMENTS:,} elements. Make the output smaller.",
        )


@contextmanager
def _skip_allocation() -> Iterator[None]:
    """Skip the creation of weights: a stateless scope defers it, and clearing the session discards what it deferred."""
    with keras.StatelessScope():
        try:
            yield
        finally:
            keras.utils.clear_session(free_memory=False)


def _apply_network(
    network: NetworkSpec,
    inputs: Any,  # noqa: ANN401 - keras is untyped
    appended: str | None,
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the JSON pointer of each layer, the layer, and its output. The last output is the network's."""
    if network.layers is not None:
        steps = _apply_layers(network.layers, inputs, LAYERS_POINTER, {inputs.name})
    else:
        steps = _apply_keras_json(parse_keras_json(network.keras or {}, MAX_LAYERS), inputs)
    for pointer, layer, output in steps:
        if any(fnmatchcase(layer.name, pattern) for pattern in network.freeze):
            layer.trainable = False
        yield pointer, layer, output
    if appended is not None:
        layer = keras.layers.Activation(appended)
        yield pointer, layer, layer(output)


def _apply_keras_json(read: KerasJson, inputs: Any) -> Iterator[tuple[str, keras.Layer, Any]]:  # noqa: ANN401 - keras is untyped
    declared, shape = read.layers[0].declared_shape, tuple(inputs.shape[1:])
    if declared is not None and any(side not in (None, own) for side, own in zip_longest(declared, shape, fillvalue=0)):
        raise build_error(
            f"{read.layers[0].pointer}/config/batch_shape",
            f"The data and `preprocessing.size` give the input shape {list(shape)}, and the network declares "
            f"{list(declared)}. Change `preprocessing.size` (`data` keeps the size of the data).",
        )
    layers_by_index: dict[int, keras.Layer] = {}
    names = {inputs.name}
    tensors = [inputs]
    for call in read.calls[1:]:
        config = read.layers[call.layer]
        if call.layer not in layers_by_index:
            _check_class(config.class_name, LAYERS | MERGE_LAYERS, f"{config.pointer}/class_name")
            at = f"{config.pointer}/config"
            layer = _make_layer(config.class_name, dict(config.arguments), tensors[call.inputs[0]], at)
            layers_by_index[call.layer] = _check_unique_name(layer, names, at)
        layer = layers_by_index[call.layer]
        layer_inputs = [tensors[index] for index in call.inputs]
        with translate_keras_errors(
            f"{config.class_name} cannot take inputs of shape {[tuple(one.shape[1:]) for one in layer_inputs]}",
            config.pointer,
        ):
            tensors.append(layer(layer_inputs if config.class_name in MERGE_LAYERS else layer_inputs[0]))
        yield config.pointer, layer, tensors[-1]


def _apply_layers(
    layers: Sequence[LayerSpec],
    tensor: Any,  # noqa: ANN401 - keras is untyped
    at: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the JSON pointer of each layer, the layer, and its output. `names` are the layer names already in use."""
    for index, spec in enumerate(layers):
        pointer = f"{at}/{index}"
        if spec.layer in ("Input", "InputLayer"):
            _check_input(spec, tuple(tensor.shape[1:]), pointer)
        elif spec.layers is not None:
            for step in _apply_residual(spec, tensor, pointer, names):
                yield step
                *_, output = step
            tensor = output
        else:
            _check_class(spec.layer, LAYERS, f"{pointer}/layer")
            layer = _check_unique_name(_make_layer(spec.layer, spec.arguments, tensor, pointer), names, pointer)
            with translate_keras_errors(f"{spec.layer} cannot take inputs of shape {tuple(tensor.shape[1:])}", pointer):
                tensor = layer(tensor)
            yield pointer, layer, tensor


def _apply_residual(
    spec: LayerSpec,
    tensor: Any,  # noqa: ANN401 - keras is untyped
    pointer: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the inner layers, the projection if the shapes differ, and the sum: He et al., 2015, arXiv:1512.03385."""
    if spec.arguments:
        raise build_error(
            f"{pointer}/{next(iter(spec.arguments))}",
            "`Residual` takes `layers` and nothing else. Remove this argument.",
        )
    output = tensor
    for index, layer, output in _apply_layers(spec.layers or (), tensor, f"{pointer}/layers", names):
        yield index, layer, output
    if output.shape[1:] != tensor.shape[1:]:
        layer = _check_unique_name(
            _make_projection(tuple(tensor.shape[1:]), tuple(output.shape[1:]), pointer), names, pointer
        )
        tensor = layer(tensor)
        yield pointer, layer, tensor
    layer = _check_unique_name(keras.layers.Add(), names, pointer)
    yield pointer, layer, layer([output, tensor])


def _check_unique_name(layer: keras.Layer, names: set[str], pointer: str) -> keras.Layer:
    if layer.name in names:
        raise build_error(f"{pointer}/name", f"Two layers are named {layer.name!r}. Give each layer its own name.")
    names.add(layer.name)
    return layer


def _make_projection(shape: tuple[int, ...], wanted: tuple[int, ...], pointer: str) -> keras.Layer:
    """Make a Dense layer, or a 1×1 convolution whose strides equal those of the inner layers together."""
    if len(shape) == len(wanted) == 1:
        return keras.layers.Dense(wanted[0], use_bias=False)
    if len(shape) == len(wanted) == 3 and None not in (*shape, *wanted):  # noqa: PLR2004 - height, width, channels
        strides = tuple(math.ceil(side / to) for side, to in zip(shape[:2], wanted[:2], strict=True))
        if all(math.ceil(side / stride) == to for side, stride, to in zip(shape, strides, wanted, strict=False)):
            return keras.layers.Conv2D(wanted[2], 1, strides=strides, padding="same", use_bias=False)
    raise build_error(
        pointer,
        f"The inner layers have an output of shape {wanted} for an input of shape {shape}, and no 1×1 projection has "
        "the same. Keep the number of dimensions and use `padding: same`.",
    )


def _check_class(name: str, allowed: frozenset[str], pointer: str) -> None:
    if name not in allowed:
        raise build_error(
            pointer,
            f"{name!r} is not an allowed layer.{suggest(name, allowed)} Use one of: {', '.join(sorted(allowed))}.",
        )


def _make_layer(class_name: str, arguments: dict[str, Any], tensor: Any, pointer: str) -> keras.Layer:  # noqa: ANN401 - keras
    if "name" in arguments and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", str(arguments["name"])):
        raise build_error(
            f"{pointer}/name",
            f"{str(arguments['name'])[:100]!r} is not a layer name. A name has 1 to 100 letters, digits, `_`, `.` or "
            "`-`, and begins with a letter or a digit.",
        )
    declared = arguments.pop("input_shape", None)
    if declared is not None:
        _check_declared_shape(declared, tuple(tensor.shape[1:]), pointer, "input_shape")
    layer_class = getattr(keras.layers, class_name)
    with translate_keras_errors(f"{class_name} cannot be created", pointer):
        return layer_class(**convert_arguments(layer_class, arguments, pointer))


def _check_input(spec: LayerSpec, shape: tuple[int, ...], pointer: str) -> None:
    if pointer != FIRST_LAYER_POINTER:
        raise build_error(pointer, "An input layer must be the first layer. Remove this one.")
    for key in sorted(spec.arguments.keys() - {"shape", "name"}):
        raise build_error(
            f"{pointer}/{key}",
            f"{FIXED_ARGUMENTS.get(key, 'an input layer takes only `shape` and `name`').capitalize()}. "
            "Remove this argument.",
        )
    _check_declared_shape(spec.arguments.get("shape"), shape, pointer, "shape")


def _check_declared_shape(declared: object, shape: tuple[int, ...], pointer: str, key: str) -> None:
    if pointer != FIRST_LAYER_POINTER or declared != list(shape):
        raise build_error(
            f"{pointer}/{key}",
            f"The data and `preprocessing.size` give the input shape {list(shape)}, and the layer declares {declared}. "
            "Remove this argument, or change `preprocessing.size` (`data` keeps the size of the data).",
        )
