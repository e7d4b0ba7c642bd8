"""Build a Keras network from the layers of a spec.

Depends on no Keras backend: the API builds with OpenVINO, the worker with TensorFlow.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import keras

from shared.networks.allow_list import (
    FIXED_ARGUMENTS,
    KERAS_LAYERS,
    LAYERS,
    MERGE_LAYERS,
    OWN_LAYERS,
    PROBABILITY_PRESERVING_LAYERS,
    WRAPPER_LAYERS,
)
from shared.networks.arguments import build_error, translate_keras_errors
from shared.networks.keras_json import CallForm, KerasJson, LayerConfig, parse_keras_json
from shared.networks.layer_factory import (
    FIRST_LAYER_POINTER,
    LAYERS_POINTER,
    MAXOUT,
    WHITENING,
    check_class,
    make_layer,
    make_whitening,
    split_maxout,
)
from shared.networks.layer_row import LayerRow, WeightShape
from shared.spec.network import MAX_LAYERS, LayerSpec, NetworkSpec

RESIDUAL = "Residual"
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


def list_weights(network: NetworkSpec, input_shape: tuple[int, ...], appended: str | None = None) -> list[WeightShape]:
    """List the weights of the network that `build_network` would build, in the order of `Model.get_weights()`.

    Allocates no weights. Raises InvalidRequest if the network cannot be built.
    """
    with _skip_allocation():
        return describe_weights(build_network(network, input_shape, "network", appended))


def describe_weights(model: keras.Model) -> list[WeightShape]:
    """Return the names and the shapes of the weights of a model, in the order of `Model.get_weights()`."""
    return [WeightShape(weight.path, tuple(weight.shape)) for weight in model.weights]


def find_final_activation(network: NetworkSpec) -> tuple[str, str]:
    """Return the JSON pointer of the last layer, and the last activation before the output (`linear` without one)."""
    if network.layers is not None:
        chain = [(layer.layer, layer.arguments) for layer in network.layers]
        return f"{LAYERS_POINTER}/{len(chain) - 1}", _find_activation(chain) or "linear"
    read = parse_keras_json(network.keras or {}, MAX_LAYERS)
    return read.layers[read.calls[-1].layer].pointer, _find_activation(_list_last_layers(read)) or "linear"


def _find_activation(chain: Sequence[tuple[str, dict[str, Any]]]) -> str | None:
    """Return the activation of a chain of layers; None if all of them keep the one before."""
    for name, arguments in reversed(chain):
        if name == "Softmax":
            return "softmax"
        if name not in PROBABILITY_PRESERVING_LAYERS:
            return str(arguments.get("activation") or "linear")
    return None


def _list_last_layers(read: KerasJson) -> list[tuple[str, dict[str, Any]]]:
    """List the layers on the path of first inputs from the output back to the input, also those in models inside."""
    chain: list[tuple[str, dict[str, Any]]] = []
    index = len(read.calls) - 1
    while read.calls[index].inputs:
        layer = read.layers[read.calls[index].layer]
        inner = layer.wrapped[0][1] if layer.wrapped else layer
        chain[:0] = _list_last_layers(layer.model) if layer.model is not None else [(inner.class_name, inner.arguments)]
        index = read.calls[index].inputs[0]
    return chain


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
    _check_elements(row.type, row.output_shape, pointer)


def _check_elements(kind: str, shape: tuple[int, ...], pointer: str) -> None:
    if math.prod(shape) > MAX_ELEMENTS:
        raise build_error(
            pointer,
            f"{kind} has an output of shape {shape} for one input, more than a device can hold. "
            f"The limit is {MAX_ELEMENTS:,} elements. Make the output smaller.",
        )


@contextmanager
def _skip_allocation() -> Iterator[None]:
    """Skip the creation of weights: a stateless scope defers it, and clearing the session discards what it deferred."""
    keras.utils.clear_session(free_memory=False)  # layers that were only checked have taken names
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
        steps = _apply_keras_json(parse_keras_json(network.keras or {}, MAX_LAYERS), inputs, network.freeze)
    names = {inputs.name}
    for pointer, layer, output in steps:
        _freeze(layer, network.freeze)
        names.add(layer.name)
        yield pointer, layer, output
    if appended is not None:
        layer = keras.layers.Activation(appended)
        while layer.name in names:  # the sender's own layers can have the names that Keras gives
            layer = keras.layers.Activation(appended, name=f"{layer.name}_of_logits")
        yield pointer, layer, layer(output)


def _apply_keras_json(
    read: KerasJson,
    inputs: Any,  # noqa: ANN401 - keras is untyped
    freeze: Sequence[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the JSON pointer of each layer, the layer, and its output. A Reshape can be put in front."""
    first = read.layers[read.calls[0].layer]
    names = {inputs.name}
    tensors = [inputs]
    shape = tuple(inputs.shape[1:])
    if not _is_shape(first.declared_shape, shape):
        layer = _check_unique_name(_reshape_input(first.declared_shape or (), shape, first.pointer), names, "")
        tensors = [layer(inputs)]
        yield first.pointer, layer, tensors[-1]
    layers_by_index: dict[int, keras.Layer] = {}
    for call in read.calls[1:]:
        config = read.layers[call.layer]
        if call.layer not in layers_by_index:
            layer = _make_configured(config, tensors[call.inputs[0]], freeze)
            layers_by_index[call.layer] = _check_unique_name(layer, names, f"{config.pointer}/config")
        layer = layers_by_index[call.layer]
        given = [tensors[index] for index in call.inputs]
        with translate_keras_errors(
            f"{config.class_name} cannot take inputs of shape {[tuple(one.shape[1:]) for one in given]}",
            config.pointer,
        ):
            if config.class_name in MERGE_LAYERS or call.form is CallForm.LIST:
                tensors.append(layer(given, **dict(call.options)))
            else:
                tensors.append(layer(*given, **dict(call.options)))
        _check_one_output(config.class_name, tensors[-1], config.pointer)
        yield config.pointer, layer, tensors[-1]


def _make_configured(config: LayerConfig, tensor: Any, freeze: Sequence[str]) -> keras.Layer:  # noqa: ANN401 - keras
    """Make a layer, a wrapper with its layers, or a model with its network. `tensor` is its first input."""
    if config.model is not None:
        return _make_inner_model(config, config.model, tuple(tensor.shape[1:]), freeze)
    allowed = LAYERS | MERGE_LAYERS | KERAS_LAYERS | WRAPPER_LAYERS
    check_class(config.class_name, allowed, f"{config.pointer}/class_name")
    wrapped = {key: _make_configured(inner, tensor, freeze) for key, inner in config.wrapped}
    if config.class_name in WRAPPER_LAYERS and "layer" not in wrapped:
        raise build_error(f"{config.pointer}/config/layer", f"{config.class_name} needs a layer.")
    return make_layer(config.class_name, dict(config.arguments), tensor, f"{config.pointer}/config", wrapped)


def _make_inner_model(
    config: LayerConfig, read: KerasJson, shape: tuple[int, ...], freeze: Sequence[str]
) -> keras.Model:
    """Make a model inside of a network, of the same class as in the document: so its weights have the same places."""
    inputs = keras.Input(shape=shape, name="input")
    outputs, layers = inputs, []
    for pointer, layer, outputs in _apply_keras_json(read, inputs, freeze):
        _check_defined_shape(layer, outputs, pointer)
        _check_elements(type(layer).__name__, tuple(outputs.shape[1:]), pointer)
        _freeze(layer, freeze)
        layers.append(layer)
    if config.class_name == "Sequential":
        return keras.Sequential([keras.Input(shape=shape), *layers], name=config.name)
    return keras.Model(inputs, outputs, name=config.name)


def _is_shape(declared: Sequence[int | None] | None, shape: tuple[int, ...]) -> bool:
    """Return whether the declared input shape is that of the data; None stands for any side."""
    return declared is None or (
        len(declared) == len(shape) and all(side in (None, own) for side, own in zip(declared, shape, strict=True))
    )


def _reshape_input(declared: Sequence[object], shape: tuple[int, ...], pointer: str, key: str = "") -> keras.Layer:
    """Make the Reshape in front of a network that declares another shape for the same numbers.

    Raises InvalidRequest for a shape of other numbers.
    """
    sides = [side for side in declared if type(side) is int and side > 0]
    if len(sides) != len(declared) or math.prod(sides) != math.prod(shape):
        raise build_error(
            f"{pointer}/{key or 'config/batch_shape'}",
            f"The data and `preprocessing.size` give the input shape {list(shape)}, and the network declares "
            f"{list(declared)}. Change `preprocessing.size` (`data` keeps the size of the data).",
        )
    return keras.layers.Reshape(tuple(sides))


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
            _check_input(spec, pointer)
            for step in _reshape_declared(spec.arguments.get("shape"), tensor, pointer, "shape", names):
                yield step
                *_, tensor = step
        elif spec.layer == RESIDUAL:
            for step in _apply_residual(spec, tensor, pointer, names):
                yield step
                *_, output = step
            tensor = output
        elif spec.layer == MAXOUT:
            for step in _apply_maxout(spec, tensor, pointer, names):
                yield step
                *_, output = step
            tensor = output
        else:
            check_class(spec.layer, LAYERS | OWN_LAYERS | WRAPPER_LAYERS, f"{pointer}/layer")
            declared = spec.arguments.get("input_shape")
            for step in _reshape_declared(declared, tensor, pointer, "input_shape", names):
                yield step
                *_, tensor = step
            layer = _check_unique_name(_make_declared(spec, tensor, pointer), names, pointer)
            with translate_keras_errors(f"{spec.layer} cannot take inputs of shape {tuple(tensor.shape[1:])}", pointer):
                tensor = layer(tensor)
            _check_one_output(spec.layer, tensor, pointer)
            yield pointer, layer, tensor


def _check_one_output(class_name: str, output: object, pointer: str) -> None:
    """Check that a layer has one output. Raises InvalidRequest."""
    if isinstance(output, list | tuple):
        detail = (
            f"{class_name} has {len(output)} outputs with these arguments, and a layer must have one. Remove "
            "`return_state: true` or `merge_mode: null`."
        )
        raise build_error(pointer, detail)


def _make_declared(spec: LayerSpec, tensor: Any, pointer: str) -> keras.Layer:  # noqa: ANN401 - keras is untyped
    """Make a layer of Keras, a wrapper with the one layer in its `layers`, or the convolution of a `Whitening`."""
    if spec.layer == WHITENING:
        return make_whitening(spec.arguments, tuple(tensor.shape[1:]), pointer)
    if spec.layers is None:
        return make_layer(spec.layer, spec.arguments, tensor, pointer)
    inner, place = spec.layers[0], f"{pointer}/layers/0"
    check_class(inner.layer, LAYERS, f"{place}/layer")
    wrapped = {"layer": make_layer(inner.layer, inner.arguments, tensor, place)}
    return make_layer(spec.layer, spec.arguments, tensor, pointer, wrapped)


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


def _apply_maxout(
    spec: LayerSpec,
    tensor: Any,  # noqa: ANN401 - keras is untyped
    pointer: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the Dense layers of a Maxout, and the maximum of their outputs."""
    pieces, arguments = split_maxout(spec.arguments, pointer)
    outputs = []
    for piece in pieces:
        layer = _check_unique_name(make_layer("Dense", dict(piece), tensor, pointer, shown=MAXOUT), names, pointer)
        with translate_keras_errors(f"{MAXOUT} cannot take inputs of shape {tuple(tensor.shape[1:])}", pointer):
            outputs.append(layer(tensor))
        yield pointer, layer, outputs[-1]
    layer = _check_unique_name(keras.layers.Maximum(**arguments), names, pointer)
    yield pointer, layer, layer(outputs)


def _freeze(layer: keras.Layer, patterns: Sequence[str]) -> None:
    if any(fnmatchcase(layer.name, pattern) for pattern in patterns):
        layer.trainable = False


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


def _check_input(spec: LayerSpec, pointer: str) -> None:
    if pointer != FIRST_LAYER_POINTER:
        raise build_error(pointer, "An input layer must be the first layer. Remove this one.")
    for key in sorted(spec.arguments.keys() - {"shape", "name"}):
        raise build_error(
            f"{pointer}/{key}",
            f"{FIXED_ARGUMENTS.get(key, 'an input layer takes only `shape` and `name`').capitalize()}. "
            "Remove this argument.",
        )


def _reshape_declared(
    declared: object,
    tensor: Any,  # noqa: ANN401 - keras is untyped
    pointer: str,
    key: str,
    names: set[str],
) -> Iterator[tuple[str, keras.Layer, Any]]:
    """Yield the Reshape in front of the first layer if it declares another shape for the same numbers.

    Raises InvalidRequest for a shape of other numbers.
    """
    shape = tuple(tensor.shape[1:])
    if pointer != FIRST_LAYER_POINTER or declared is None or declared == list(shape):
        return
    sides = declared if isinstance(declared, list) else [declared]
    layer = _check_unique_name(_reshape_input(sides, shape, pointer, key), names, pointer)
    yield pointer, layer, layer(tensor)
