"""From a spec's layers to a Keras network. Imports keras and no backend, so that the API, on OpenVINO, and the worker,
on TensorFlow, build from one file."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

import keras

from shared.networks.allow_list import LAYERS, MERGES, PASSED_THROUGH, SETTLED
from shared.networks.arguments import build_error, checked_arguments, keras_errors
from shared.networks.keras_json import KerasJson, read_keras_json
from shared.networks.layer_row import LayerRow
from shared.spec.network import MAX_LAYERS, LayerSpec, Network

AT = "#/network/layers"
FIRST = f"{AT}/0"
MAX_ELEMENTS = 2**31
"""Of one layer's output for one input: past this no device could hold it."""


def build(network: Network, input_shape: tuple[int, ...], name: str) -> keras.Model:
    """The network, its weights drawn. Raises InvalidRequest, with Keras's message, where it cannot be built."""
    inputs = keras.Input(shape=input_shape, name="input")
    outputs = [inputs, *(output for _, _, output in _steps(network, inputs))][-1]
    return keras.Model(inputs, outputs, name=name)


def layer_table(network: Network, input_shape: tuple[int, ...], max_parameters: int) -> list[LayerRow]:
    """What `build` would make, without making it: no weight is allocated, however many there would be."""
    table: dict[str, LayerRow] = {}
    total = 0
    with _no_allocation():
        for pointer, layer, output in _steps(network, keras.Input(shape=input_shape, name="input")):
            _check_open_sides(layer, output, pointer)
            row = _row(layer, output)
            total += row.parameters if row.name not in table else 0  # used again: the same weights
            _check_size(row, total, max_parameters, pointer)
            table.pop(row.name, None)  # the last row is the output's
            table[row.name] = row
    return list(table.values())


def final_activation(network: Network) -> tuple[str, str]:
    """The place of the last layer, and the activation that its outputs have been through last."""
    if network.layers is not None:
        chain = [(layer.layer, layer.arguments) for layer in network.layers]
        pointer = f"{AT}/{len(chain) - 1}"
    else:
        read = read_keras_json(network.keras or {}, MAX_LAYERS)
        place = len(read.calls) - 1
        pointer, chain = read.layers[read.calls[place].layer].pointer, []
        while read.calls[place].inputs:
            layer = read.layers[read.calls[place].layer]
            chain.insert(0, (layer.class_name, layer.arguments))
            place = read.calls[place].inputs[0]
    for name, arguments in reversed(chain):
        if name == "Softmax":
            return pointer, "softmax"
        if name not in PASSED_THROUGH:
            return pointer, str(arguments.get("activation") or "linear")
    return pointer, "linear"


def layer_rows(network: keras.Model) -> list[LayerRow]:
    """The layer table of a network that is built; without its input."""
    return [_row(layer, layer.output) for layer in network.layers[1:]]


def _row(layer: keras.Layer, output: Any) -> LayerRow:  # noqa: ANN401 - keras is untyped
    trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    shape = tuple(output.shape[1:])
    return LayerRow(
        name=layer.name,
        type=type(layer).__name__,
        output_shape=shape,
        parameters=layer.count_params(),
        trainable_parameters=trainable,
    )


def _check_open_sides(layer: keras.Layer, output: Any, pointer: str) -> None:  # noqa: ANN401 - keras is untyped
    if None in output.shape[1:]:
        detail = f"{type(layer).__name__} leaves a side of its output open: {tuple(output.shape[1:])}."
        raise build_error(pointer, detail)


def _check_size(row: LayerRow, total: int, max_parameters: int, pointer: str) -> None:
    if total > max_parameters:
        detail = f"With {row.type} the network has {total:,} parameters, where {max_parameters:,} are the limit."
        raise build_error(pointer, detail)
    if math.prod(row.output_shape) > MAX_ELEMENTS:
        raise build_error(pointer, f"{row.type} makes {row.output_shape} of one input, more than a device can hold.")


@contextmanager
def _no_allocation() -> Iterator[None]:
    """In a stateless scope Keras puts off the drawing of weights; clearing the session forgets what it put off."""
    with keras.StatelessScope():
        try:
            yield
        finally:
            keras.utils.clear_session(free_memory=False)


def _steps(network: Network, inputs: Any) -> Iterator[tuple[str, keras.Layer, Any]]:  # noqa: ANN401 - keras is untyped
    """The place of each layer in the spec, the layer, and its output; the last output is the network's."""
    if network.layers is not None:
        steps = _applied(network.layers, inputs, AT, {inputs.name})
    else:
        steps = _called(read_keras_json(network.keras or {}, MAX_LAYERS), inputs)
    for pointer, layer, output in steps:
        if any(fnmatchcase(layer.name, pattern) for pattern in network.freeze):
            layer.trainable = False
        yield pointer, layer, output


def _called(read: KerasJson, inputs: Any) -> Iterator[tuple[str, keras.Layer, Any]]:  # noqa: ANN401 - keras is untyped
    declared, shape = read.layers[0].declared_shape, tuple(inputs.shape[1:])
    if declared is not None and any(side not in (None, own) for side, own in zip_longest(declared, shape, fillvalue=0)):
        raise build_error(
            f"{read.layers[0].pointer}/config/batch_shape",
            f"The network's input is {list(shape)}, as the data and `preprocessing.size` make it, not "
            f"{list(declared)}: change `preprocessing.size` (`data` keeps the data's own).",
        )
    made: dict[int, keras.Layer] = {}
    names = {inputs.name}
    tensors = [inputs]
    for call in read.calls[1:]:
        config = read.layers[call.layer]
        if call.layer not in made:
            _check_class(config.class_name, LAYERS | MERGES, f"{config.pointer}/class_name")
            at = f"{config.pointer}/config"
            layer = _layer(config.class_name, dict(config.arguments), tensors[call.inputs[0]], at)
            made[call.layer] = _named_once(layer, names, at)
        layer = made[call.layer]
        given = [tensors[place] for place in call.inputs]
        with keras_errors(
            f"{config.class_name} cannot follow on {[tuple(one.shape[1:]) for one in given]}", config.pointer
        ):
            tensors.append(layer(given if config.class_name in MERGES else given[0]))
        yield config.pointer, layer, tensors[-1]


def _applied(
    layers: Sequence[LayerSpec],
    tensor: Any,  # noqa: ANN401 - keras is untyped
    at: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """The place of each layer in the spec, the layer, and its output. `names` are those already given."""
    for index, spec in enumerate(layers):
        pointer = f"{at}/{index}"
        if spec.layer in ("Input", "InputLayer"):
            _check_input(spec, tuple(tensor.shape[1:]), pointer)
        elif spec.layers is not None:
            for step in _residual(spec, tensor, pointer, names):
                yield step
                *_, output = step
            tensor = output
        else:
            _check_class(spec.layer, LAYERS, f"{pointer}/layer")
            layer = _named_once(_layer(spec.layer, spec.arguments, tensor, pointer), names, pointer)
            with keras_errors(f"{spec.layer} cannot follow on {tuple(tensor.shape[1:])}", pointer):
                tensor = layer(tensor)
            yield pointer, layer, tensor


def _residual(
    spec: LayerSpec,
    tensor: Any,  # noqa: ANN401 - keras is untyped
    pointer: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """The layers inside, the projection where one is needed, and the sum: He et al., 2015, arXiv:1512.03385."""
    if spec.arguments:
        raise build_error(f"{pointer}/{next(iter(spec.arguments))}", "`Residual` takes `layers` and nothing else.")
    output = tensor
    for place, layer, output in _applied(spec.layers or (), tensor, f"{pointer}/layers", names):
        yield place, layer, output
    if output.shape[1:] != tensor.shape[1:]:
        layer = _named_once(_projection(tuple(tensor.shape[1:]), tuple(output.shape[1:]), pointer), names, pointer)
        tensor = layer(tensor)
        yield pointer, layer, tensor
    layer = _named_once(keras.layers.Add(), names, pointer)
    yield pointer, layer, layer([output, tensor])


def _named_once(layer: keras.Layer, names: set[str], pointer: str) -> keras.Layer:
    if layer.name in names:
        raise build_error(f"{pointer}/name", f"Two layers are named {layer.name!r}: each needs a name of its own.")
    names.add(layer.name)
    return layer


def _projection(shape: tuple[int, ...], wanted: tuple[int, ...], pointer: str) -> keras.Layer:
    """A Dense layer, or a 1×1 convolution whose strides make up for those inside."""
    if len(shape) == len(wanted) == 1:
        return keras.layers.Dense(wanted[0], use_bias=False)
    if len(shape) == len(wanted) == 3 and None not in (*shape, *wanted):  # noqa: PLR2004 - height, width, channels
        strides = tuple(math.ceil(side / to) for side, to in zip(shape[:2], wanted[:2], strict=True))
        if all(math.ceil(side / stride) == to for side, stride, to in zip(shape, strides, wanted, strict=False)):
            return keras.layers.Conv2D(wanted[2], 1, strides=strides, padding="same", use_bias=False)
    raise build_error(pointer, f"The layers make {wanted} of {shape}, and no 1×1 projection does the same.")


def _check_class(name: str, allowed: frozenset[str], pointer: str) -> None:
    if name not in allowed:
        raise build_error(pointer, f"{name!r} is not one of the layers to build with: {', '.join(sorted(allowed))}.")


def _layer(class_name: str, arguments: dict[str, Any], tensor: Any, pointer: str) -> keras.Layer:  # noqa: ANN401 - keras
    if "name" in arguments and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", str(arguments["name"])):
        raise build_error(f"{pointer}/name", "A layer's name is made of letters, digits, `_`, `.` and `-`.")
    declared = arguments.pop("input_shape", None)
    if declared is not None:
        _check_declared_shape(declared, tuple(tensor.shape[1:]), pointer, "input_shape")
    layer_class = getattr(keras.layers, class_name)
    with keras_errors(f"{class_name} cannot be made", pointer):
        return layer_class(**checked_arguments(layer_class, arguments, pointer))


def _check_input(spec: LayerSpec, shape: tuple[int, ...], pointer: str) -> None:
    if pointer != FIRST:
        raise build_error(pointer, "An input can only come first.")
    for key in sorted(spec.arguments.keys() - {"shape", "name"}):
        raise build_error(
            f"{pointer}/{key}", f"{SETTLED.get(key, 'an input takes `shape` alone').capitalize()}: leave it out."
        )
    _check_declared_shape(spec.arguments.get("shape"), shape, pointer, "shape")


def _check_declared_shape(declared: object, shape: tuple[int, ...], pointer: str, key: str) -> None:
    if pointer != FIRST or declared != list(shape):
        raise build_error(
            f"{pointer}/{key}",
            f"The network's input is {list(shape)}, as the data and `preprocessing.size` make it, not {declared}: "
            "leave this out, or change `preprocessing.size` (`data` keeps the data's own).",
        )
