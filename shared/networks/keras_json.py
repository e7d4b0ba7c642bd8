"""Parse the JSON that `model.to_json()` of Keras 2 and 3 prints, to layers and the connections between them.

Nothing is deserialised by Keras: a document may name classes, functions and code of any origin.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shared.errors import Fault, InvalidRequest
from shared.networks.allow_list import SAVED_NAMES, WRAPPER_LAYERS
from shared.networks.keras_masks import MASK_KEYS, find_masks
from shared.networks.keras_operations import (
    MAX_NUMBERS,
    Tensor,
    build_operation_error,
    is_operation,
    name_operation,
    translate_operation,
)

POINTER = "#/network/keras"
INPUT_CLASSES = ("InputLayer",)
MODEL_CLASSES = ("Sequential", "Functional", "Model")
IGNORED_KEYS = frozenset(
    {
        "batch_input_shape",
        "batch_shape",
        "data_format",
        "dtype",
        "implementation",
        "key_shape",
        "optional",
        "query_shape",
        "ragged",
        "sparse",
        "value_shape",
    }
)
"""Keys of a layer's `config` that do not become arguments: they are checked here, or follow from the data."""
UNUSED_OF_SEPARABLE = frozenset({"kernel_initializer", "kernel_regularizer", "kernel_constraint"})
"""Keys that Keras 2 writes for separable convolutions, which have two kernels with keys of their own."""
ALIASES = {"OrthogonalInitializer": "Orthogonal"}
"""Names of classes in Keras 3.0, and today."""
UNUSED = (("rms_scaling", False), ("renorm", False), ("fused", None), ("time_major", False), ("groups", 1))
"""Keys of older releases with the value that changes nothing."""
IGNORED_OPTIONS = frozenset({"mask", "training", "return_attention_scores", "initial_state", "name"})
"""Arguments of a call that have no effect if they are null or false."""
TENSOR_KEYS = ("query", "value", "key", "inputs")
"""Arguments of a call that are tensors, in their order."""
CALL_OPTIONS = frozenset({"use_causal_mask"})
MAX_DEPTH = 10
"""The most models inside one another."""


class CallForm(StrEnum):
    """How a layer takes its inputs."""

    ONE = "one"
    LIST = "list"  # as a list of tensors
    SEVERAL = "several"  # as arguments, one after another


@dataclass(frozen=True)
class Call:
    """One use of a layer; all calls of a layer share its weights.

    `layer` is an index of `KerasJson.layers`; `inputs` are the indices of the calls whose outputs it takes. `options`
    are further arguments of the call.
    """

    layer: int
    inputs: tuple[int, ...]
    form: CallForm = CallForm.ONE
    options: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class LayerConfig:
    """A layer of the document.

    Attributes:
        arguments: those of the class. A part such as an initializer is `{"name": …, **its arguments}`.
        declared_shape: the input shape without the batch, None if the document declares none.
        model: the network inside of a layer that is a model; None for others.
        wrapped: the layers inside of a wrapper, by argument.
    """

    pointer: str
    name: str
    class_name: str
    arguments: dict[str, Any]
    declared_shape: tuple[int | None, ...] | None
    model: "KerasJson | None" = None
    wrapped: tuple[tuple[str, "LayerConfig"], ...] = ()


@dataclass(frozen=True)
class KerasJson:
    """A parsed network. Each call comes after those of its inputs; the first is the input, the last the output."""

    layers: tuple[LayerConfig, ...]
    calls: tuple[Call, ...]

    def count(self) -> int:
        """Return the number of uses of layers, also in the models inside."""
        inner = [self.layers[call.layer].model for call in self.calls]
        return len(self.calls) + sum(model.count() for model in inner if model is not None)


@dataclass(frozen=True)
class _Node:
    """One use of a layer, with (layer, use) of its inputs and of its masks."""

    sources: tuple[tuple[int, int], ...]
    form: CallForm = CallForm.ONE
    options: tuple[tuple[str, bool], ...] = ()
    masks: tuple[tuple[int, int], ...] = ()


def parse_keras_json(document: dict[str, Any], max_layers: int) -> KerasJson:
    """Parse what `to_json()` prints of a network with one input and one output. Raises InvalidRequest."""
    read = _parse_model(document, POINTER, max_layers, 0)
    if read.count() > max_layers:
        raise _build_error(
            f"{POINTER}/config/layers",
            f"The layers are used {read.count()} times, the limit is {max_layers}. Use fewer layers.",
        )
    return read


def _parse_model(document: dict[str, Any], pointer: str, max_layers: int, depth: int) -> KerasJson:
    """Parse a model, which can be inside of another. Raises InvalidRequest."""
    kind = document.get("class_name")
    if kind not in MODEL_CLASSES:
        raise _build_error(
            f"{pointer}/class_name", f"{kind!r} is neither Sequential nor Functional. Use one of these two classes."
        )
    if depth > MAX_DEPTH:
        raise _build_error(pointer, f"The models are nested more than {MAX_DEPTH} levels deep, the limit.")
    config = _check_mapping(document.get("config"), f"{pointer}/config")
    entries, at = config.get("layers"), f"{pointer}/config/layers"
    if not isinstance(entries, list) or not 0 < len(entries) <= max_layers:
        raise _build_error(at, f"This must be a list of 1 to {max_layers} layers.")
    checked = [_check_mapping(entry, f"{at}/{index}") for index, entry in enumerate(entries)]
    if kind == "Sequential":
        layers = [_parse_layer(entry, f"{at}/{index}", max_layers, depth) for index, entry in enumerate(checked)]
        return _connect_sequential(tuple(layers))
    return _connect_functional(checked, config, pointer, max_layers, depth)


def _parse_layer(entry: dict[str, Any], pointer: str, max_layers: int, depth: int) -> LayerConfig:
    if is_operation(entry):  # in a Sequential
        raise build_operation_error(name_operation(entry), pointer)
    class_name = _parse_class_name(entry, pointer)
    config = _check_mapping(entry.get("config"), f"{pointer}/config")
    name = str(config.get("name", entry.get("name", "")))
    declared = config.get("batch_shape", config.get("batch_input_shape"))
    declared_shape = tuple(declared[1:]) if isinstance(declared, list) else None
    if class_name in MODEL_CLASSES:
        model = _parse_model(entry, pointer, max_layers, depth + 1)
        return LayerConfig(pointer, name, class_name, {}, declared_shape, model)
    if config.get("data_format") not in (None, "channels_last"):
        raise _build_error(
            f"{pointer}/config/data_format",
            f"{str(config['data_format'])[:100]!r} is not supported: images are (height, width, channels). Use "
            "`channels_last`.",
        )
    keys = [key for key in ("layer", "backward_layer") if class_name in WRAPPER_LAYERS and config.get(key) is not None]
    wrapped = []
    for key in keys:
        at = f"{pointer}/config/{key}"
        wrapped.append((key, _parse_layer(_check_mapping(config[key], at), at, max_layers, depth + 1)))
    ignored = IGNORED_KEYS | (UNUSED_OF_SEPARABLE if class_name.startswith("Separable") else frozenset())
    arguments = {
        key: _parse_argument(key, value, f"{pointer}/config/{key}")
        for key, value in config.items()
        if key not in ignored and key not in keys and value is not None and (key, value) not in UNUSED
    }
    return LayerConfig(pointer, name, class_name, arguments, declared_shape, None, tuple(wrapped))


def _parse_class_name(entry: dict[str, Any], pointer: str) -> str:
    """Return the class name of an entry. Raises InvalidRequest for a class that is not of Keras.

    Keras writes its own classes without a registered name, or with the class name. Custom code has another name.
    """
    class_name, registered = entry.get("class_name"), entry.get("registered_name")
    if not isinstance(class_name, str):
        raise _build_error(
            f"{pointer}/class_name", f"This must be the name of a Keras class, not {str(class_name)[:100]}."
        )
    if registered not in (None, class_name):
        raise _build_error(
            f"{pointer}/registered_name", f"{registered!r} is not a class of Keras. Use only classes of Keras."
        )
    return class_name


def _parse_argument(key: str, value: object, pointer: str) -> object:
    if key == "axis" and isinstance(value, list) and len(value) == 1:  # Keras 2 writes a list
        return value[0]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    name = _parse_class_name(value, pointer)
    if name == "function":
        if (own := SAVED_NAMES.get(str(value.get("config")))) is not None:
            return own
        raise _build_error(pointer, f"{value.get('config')!r} is a custom function. Use only functions of Keras.")
    config = _check_mapping(value.get("config") or {}, f"{pointer}/config")
    return {"name": ALIASES.get(name, name), **{inner: given for inner, given in config.items() if given is not None}}


def _connect_sequential(layers: tuple[LayerConfig, ...]) -> KerasJson:
    if layers[0].class_name not in INPUT_CLASSES:  # a Sequential that was never built has no input layer
        layers = (LayerConfig(layers[0].pointer, "input", INPUT_CLASSES[0], {}, layers[0].declared_shape), *layers)
    calls = (Call(0, ()), *(Call(index, (index - 1,)) for index in range(1, len(layers))))
    return KerasJson(layers, calls)


def _connect_functional(
    entries: list[dict[str, Any]], config: dict[str, Any], pointer: str, max_layers: int, depth: int
) -> KerasJson:
    at = f"{pointer}/config/layers"
    indices = {_name_entry(entry): index for index, entry in enumerate(entries)}
    (output,) = _parse_ends(config.get("output_layers"), f"{pointer}/config/output_layers", indices)
    (start,) = _parse_ends(config.get("input_layers"), f"{pointer}/config/input_layers", indices)
    nodes: dict[tuple[int, int], _Node] = {}
    layers: dict[int, LayerConfig] = {}
    operands: dict[int, list[Any]] = {}
    for index, entry in enumerate(entries):
        inbound = entry.get("inbound_nodes")
        inbound = inbound if isinstance(inbound, list) else []
        if len(nodes) + len(inbound) > max_layers:
            raise _build_error(at, f"The layers are used more than {max_layers} times, the limit. Use fewer layers.")
        if not is_operation(entry):
            layers[index] = _parse_layer(entry, f"{at}/{index}", max_layers, depth)
            for number, given in enumerate(inbound):
                nodes[index, number] = _parse_node(given, indices, f"{at}/{index}/inbound_nodes/{number}")
        elif len(inbound) == 1:
            operands[index] = list(_iterate_operands(inbound[0], indices, f"{at}/{index}/inbound_nodes/0"))
        else:
            raise build_operation_error(name_operation(entry), f"{at}/{index}")
    names = {index: name_operation(entries[index]) for index in operands}
    masks = find_masks(names, operands, _list_masked_inputs(layers, nodes))
    for index in operands.keys() - masks:
        layers[index], nodes[index, 0] = _read_operation(entries[index], operands[index], f"{at}/{index}")
    for index in masks:
        layers[index] = LayerConfig(f"{at}/{index}", _name_entry(entries[index]), names[index], {}, None)
    _check_masks(nodes, masks, names, at)
    nodes, output = _count_uses_from_0(nodes, output)
    return KerasJson(tuple(layers[index] for index in range(len(entries))), _order_calls(nodes, start, output, at))


def _check_masks(nodes: dict[tuple[int, int], _Node], masks: frozenset[int], names: dict[int, str], at: str) -> None:
    """Check that masks are only masks, and that no call has another. Raises InvalidRequest."""
    for (index, _), node in nodes.items():
        if (wrong := next((source for source in node.sources if source[0] in masks), None)) is not None:
            raise build_operation_error(names[wrong[0]], f"{at}/{wrong[0]}")
        if any(source[0] not in masks for source in node.masks):
            raise _build_error(
                f"{at}/{index}",
                "A layer must be called with only its inputs. Remove the argument 'mask': only the masks of "
                "`Embedding(mask_zero=True)` and `Masking` are read, which layers pass on by themselves.",
            )


def _list_masked_inputs(
    layers: dict[int, LayerConfig], nodes: dict[tuple[int, int], _Node]
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield (layer, use) of each input of which a layer makes a mask, and the value that is masked."""
    for (index, _), node in nodes.items():
        arguments = layers[index].arguments
        value: object = None
        if layers[index].class_name == "Embedding" and arguments.get("mask_zero") is True:
            value = 0.0
        elif layers[index].class_name == "Masking":
            value = arguments.get("mask_value", 0.0)
        if isinstance(value, int | float):
            yield from ((source, float(value)) for source in node.sources)


def _count_uses_from_0(
    nodes: dict[tuple[int, int], _Node], output: tuple[int, int]
) -> tuple[dict[tuple[int, int], _Node], tuple[int, int]]:
    """Return the uses and the output with numbers of uses that begin with 0.

    Keras 2 counts the uses of a model inside of a network from 1: the model itself is its first.
    """
    counts: dict[int, int] = {}
    for layer, _ in nodes:
        counts[layer] = counts.get(layer, 0) + 1
    highest: dict[int, int] = {}
    for layer, use in (output, *(source for node in nodes.values() for source in node.sources)):
        highest[layer] = max(use, highest.get(layer, 0))
    shifts = {layer: use + 1 - counts[layer] for layer, use in highest.items() if 0 < counts.get(layer, 0) <= use}

    def shift(use: tuple[int, int]) -> tuple[int, int]:
        return use[0], max(0, use[1] - shifts.get(use[0], 0))

    moved = {use: replace(node, sources=tuple(map(shift, node.sources))) for use, node in nodes.items()}
    return moved, shift(output)


def _name_entry(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    return str(config.get("name", entry.get("name", "")) if isinstance(config, dict) else entry.get("name", ""))


def _read_operation(entry: dict[str, Any], values: list[Any], pointer: str) -> tuple[LayerConfig, _Node]:
    """Read an operation on these operands as the layer that computes it. Raises InvalidRequest."""
    name, config = name_operation(entry), entry.get("config")
    if not isinstance(config, dict):
        raise build_operation_error(name, pointer)
    operands = [
        Tensor(*operand) if isinstance(operand, tuple) else _parse_number(operand, name, pointer) for operand in values
    ]
    found = translate_operation(name, config, operands, pointer)
    sources = tuple((tensor.layer, tensor.use) for tensor in found.inputs)
    form = CallForm.LIST if len(sources) > 1 else CallForm.ONE
    arguments = {"name": _name_entry(entry), **found.arguments}
    return LayerConfig(pointer, _name_entry(entry), found.class_name, arguments, None), _Node(sources, form)


def _parse_number(operand: object, name: str, pointer: str) -> float | tuple[float, ...]:
    """Return a number, or several along the last axis, of an operation. Raises InvalidRequest."""
    if isinstance(operand, dict) and operand.get("class_name") == "__numpy__":
        operand = _check_mapping(operand.get("config"), pointer).get("value")
    while isinstance(operand, list) and len(operand) == 1:
        (operand,) = operand
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        return float(operand)
    if isinstance(operand, list) and len(operand) <= MAX_NUMBERS:
        numbers = [one for one in operand if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(numbers) == len(operand):
            return tuple(map(float, numbers))
    raise build_operation_error(name, pointer)


def _order_calls(
    nodes: dict[tuple[int, int], _Node], start: tuple[int, int], output: tuple[int, int], pointer: str
) -> tuple[Call, ...]:
    """Return the calls that the output needs, each after its inputs. `nodes` are the uses by (layer, use)."""
    made: dict[tuple[int, int], int] = {start: 0}
    calls = [Call(start[0], ())]
    stack = [output]
    while stack:
        use = stack[-1]
        if use in made:
            stack.pop()
            continue
        node = nodes.get(use)
        if node is None or not node.sources or len(stack) > len(nodes) + 1:
            raise _build_error(
                f"{pointer}/{use[0]}",
                "No path leads from the input to this layer. Connect it to the input in `inbound_nodes`.",
            )
        missing = [source for source in node.sources if source not in made]
        if missing:
            stack.append(missing[0])
            continue
        made[use] = len(calls)
        calls.append(Call(use[0], tuple(made[source] for source in node.sources), node.form, node.options))
        stack.pop()
    return tuple(calls)


def _parse_ends(value: object, pointer: str, indices: dict[str, int]) -> list[tuple[int, int]]:
    """Parse `["dense", 0, 0]`, or a list with one such entry, to a list with one (layer, use)."""
    ends = [value] if isinstance(value, list) and value and isinstance(value[0], str) else value
    if not isinstance(ends, list) or len(ends) != 1:
        raise _build_error(pointer, "The network must have exactly one input and one output.")
    return [_parse_source(ends[0], indices, pointer)]


def _parse_node(node: object, indices: dict[str, int], pointer: str) -> _Node:
    """Parse one use of a layer. Raises InvalidRequest for arguments of the call that are not read."""
    sources: list[tuple[int, int]] = []
    options: list[tuple[str, bool]] = []
    masks: list[tuple[int, int]] = []
    if isinstance(node, list):  # Keras 2: [[layer, use, tensor, {arguments}], …]
        keywords: dict[str, Any] = {}
        for history in node:
            sources.append(_parse_source(history, indices, pointer))
            if isinstance(history, list) and len(history) > 3 and history[3]:  # noqa: PLR2004 - the arguments
                keywords |= _check_mapping(history[3], pointer)
        form = CallForm.LIST if len(sources) > 1 else CallForm.ONE
    else:
        call = _check_mapping(node, pointer)
        given = call.get("args")
        tensors = given if isinstance(given, list) else []
        is_list = len(tensors) == 1 and isinstance(tensors[0], list)
        sources += [_parse_tensor(tensor, indices, pointer) for tensor in (tensors[0] if is_list else tensors)]
        form = CallForm.LIST if is_list else CallForm.SEVERAL if len(sources) > 1 else CallForm.ONE
        keywords = _check_mapping(call.get("kwargs") or {}, f"{pointer}/kwargs")
    for key, value in keywords.items():
        if key in TENSOR_KEYS and (found := _find_tensor(value, indices, pointer)) is not None:
            sources.append(found)
            form = CallForm.SEVERAL if len(sources) > 1 else CallForm.ONE
        elif key in MASK_KEYS and (found := _find_tensor(value, indices, pointer)) is not None:
            masks.append(found)
        elif key in CALL_OPTIONS and isinstance(value, bool):
            options.append((key, value))
        elif not (value in (None, False) and key in IGNORED_OPTIONS):
            raise _build_error(pointer, f"A layer must be called with only its inputs. Remove the argument {key!r}.")
    return _Node(tuple(sources), form, tuple(options), tuple(masks))


def _iterate_operands(node: object, indices: dict[str, int], pointer: str) -> Iterator[tuple[int, int] | object]:
    """Yield the operands of an operation: (layer, use) of a tensor, or a constant."""
    if isinstance(node, list):  # Keras 2: [layer, use, tensor, {"y": …}], or a list of such
        for history in [node] if node and isinstance(node[0], str) else node:
            yield _parse_source(history, indices, pointer)
            if isinstance(history, list) and len(history) > 3 and isinstance(history[3], dict):  # noqa: PLR2004
                for key, value in history[3].items():
                    if key in ("x", "y"):
                        found = _find_tensor(value, indices, pointer)
                        yield found if found is not None else value
        return
    call = _check_mapping(node, pointer)
    given = call.get("args")
    values = [*(given if isinstance(given, list) else []), *_check_mapping(call.get("kwargs") or {}, pointer).values()]
    for value in values:
        several = (
            value if isinstance(value, list) and value and all(isinstance(one, dict) for one in value) else [value]
        )
        for one in several:
            if one is not None:
                found = _find_tensor(one, indices, pointer)
                yield found if found is not None else one


def _find_tensor(value: object, indices: dict[str, int], pointer: str) -> tuple[int, int] | None:
    """Return (layer, use) of a tensor as Keras 2 or 3 writes it; None for any other value."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _parse_tensor(value, indices, pointer)
    if isinstance(value, list) and value and isinstance(value[0], str):
        return _parse_source(value, indices, pointer)
    return None


def _parse_tensor(tensor: object, indices: dict[str, int], pointer: str) -> tuple[int, int]:
    config = _check_mapping(_check_mapping(tensor, pointer).get("config"), pointer)
    return _parse_source(config.get("keras_history"), indices, pointer)


def _parse_source(history: object, indices: dict[str, int], pointer: str) -> tuple[int, int]:
    """Parse the source of an input to (layer, use), the index of a layer and of its call."""
    match history:
        case [str(name), int(use), 0, *_] if name in indices:
            return indices[name], use
    raise _build_error(pointer, f"{str(history)[:100]} is not the source of an input. Give [layer, call, 0].")


def _check_mapping(value: object, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _build_error(pointer, "This must be a mapping, as `model.to_json()` prints it.")
    return value


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The Keras network cannot be read.", (Fault(pointer, detail),))
