"""Parse the JSON that `model.to_json()` of Keras 2 and 3 prints, to layers and the connections between them.

Nothing is deserialised by Keras: a document may name classes, functions and code of any origin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import Fault, InvalidRequest

POINTER = "#/network/keras"
LAYERS_POINTER = f"{POINTER}/config/layers"
INPUT_CLASSES = ("InputLayer",)
IGNORED_KEYS = frozenset({"batch_input_shape", "batch_shape", "data_format", "dtype", "ragged", "sparse"})
"""Keys of a layer's `config` that do not become arguments: they are checked here, or follow from the data."""


@dataclass(frozen=True)
class Call:
    """One use of a layer; all calls of a layer share its weights.

    `layer` is an index of `KerasJson.layers`; `inputs` are the indices of the calls whose outputs it takes.
    """

    layer: int
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class LayerConfig:
    """A layer of the document.

    Attributes:
        arguments: those of the class. A part such as an initializer is `{"name": …, **its arguments}`.
        declared_shape: the input shape without the batch, None if the document declares none.
    """

    pointer: str
    name: str
    class_name: str
    arguments: dict[str, Any]
    declared_shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class KerasJson:
    """A parsed network. Each call comes after those of its inputs; the first is the input, the last the output."""

    layers: tuple[LayerConfig, ...]
    calls: tuple[Call, ...]


def parse_keras_json(document: dict[str, Any], max_layers: int) -> KerasJson:
    """Parse what `to_json()` prints of a network with one input and one output. Raises InvalidRequest."""
    kind = document.get("class_name")
    if kind not in ("Sequential", "Functional", "Model"):
        raise _build_error(
            f"{POINTER}/class_name", f"{kind!r} is neither Sequential nor Functional. Use one of these two classes."
        )
    config = _check_mapping(document.get("config"), f"{POINTER}/config")
    entries = config.get("layers")
    if not isinstance(entries, list) or not 0 < len(entries) <= max_layers:
        raise _build_error(LAYERS_POINTER, f"This must be a list of 1 to {max_layers} layers.")
    layers = tuple(
        _parse_layer(_check_mapping(entry, f"{LAYERS_POINTER}/{index}"), f"{LAYERS_POINTER}/{index}")
        for index, entry in enumerate(entries)
    )
    if kind == "Sequential":
        return _connect_sequential(layers)
    return _connect_functional(layers, entries, config, max_layers)


def _parse_layer(entry: dict[str, Any], pointer: str) -> LayerConfig:
    class_name = _parse_class_name(entry, pointer)
    config = _check_mapping(entry.get("config"), f"{pointer}/config")
    declared = config.get("batch_shape", config.get("batch_input_shape"))
    if config.get("data_format") not in (None, "channels_last"):
        raise _build_error(
            f"{pointer}/config/data_format",
            f"{str(config['data_format'])[:100]!r} is not supported: images are (height, width, channels). Use "
            "`channels_last`.",
        )
    arguments = {
        key: _parse_argument(key, value, f"{pointer}/config/{key}")
        for key, value in config.items()
        if key not in IGNORED_KEYS and value is not None
    }
    return LayerConfig(
        pointer=pointer,
        name=str(config.get("name", entry.get("name", ""))),
        class_name=class_name,
        arguments=arguments,
        declared_shape=tuple(declared[1:]) if isinstance(declared, list) else None,
    )


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
        raise _build_error(pointer, f"{value.get('config')!r} is a custom function. Use only functions of Keras.")
    config = _check_mapping(value.get("config") or {}, f"{pointer}/config")
    return {"name": name, **{inner: given for inner, given in config.items() if given is not None}}


def _connect_sequential(layers: tuple[LayerConfig, ...]) -> KerasJson:
    if layers[0].class_name not in INPUT_CLASSES:  # a Sequential that was never built has no input layer
        layers = (LayerConfig(layers[0].pointer, "input", INPUT_CLASSES[0], {}, layers[0].declared_shape), *layers)
    calls = (Call(0, ()), *(Call(index, (index - 1,)) for index in range(1, len(layers))))
    return KerasJson(layers, calls)


def _connect_functional(
    layers: tuple[LayerConfig, ...], entries: list[dict[str, Any]], config: dict[str, Any], max_layers: int
) -> KerasJson:
    indices = {layer.name: index for index, layer in enumerate(layers)}
    (output,) = _parse_ends(config.get("output_layers"), f"{POINTER}/config/output_layers", indices)
    (start,) = _parse_ends(config.get("input_layers"), f"{POINTER}/config/input_layers", indices)
    sources_by_call: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for index, entry in enumerate(entries):
        nodes = entry.get("inbound_nodes")
        for number, node in enumerate(nodes if isinstance(nodes, list) else []):
            pointer = f"{LAYERS_POINTER}/{index}/inbound_nodes/{number}"
            sources_by_call[index, number] = [
                _parse_source(history, indices, pointer) for history in _iterate_histories(node, pointer)
            ]
    if len(sources_by_call) > max_layers:
        raise _build_error(
            LAYERS_POINTER,
            f"The layers are used {len(sources_by_call)} times, the limit is {max_layers}. Use fewer layers.",
        )
    return KerasJson(layers, _order_calls(sources_by_call, start, output))


def _order_calls(
    sources_by_call: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int], output: tuple[int, int]
) -> tuple[Call, ...]:
    """Return the calls that the output needs, each after its inputs.

    `sources_by_call` maps each (layer, use) to the (layer, use) of its inputs.
    """
    made: dict[tuple[int, int], int] = {start: 0}
    calls = [Call(start[0], ())]
    stack = [output]
    while stack:
        use = stack[-1]
        if use in made:
            stack.pop()
            continue
        needed = sources_by_call.get(use)
        if not needed or len(stack) > len(sources_by_call) + 1:
            raise _build_error(
                f"{LAYERS_POINTER}/{use[0]}",
                "No path leads from the input to this layer. Connect it to the input in `inbound_nodes`.",
            )
        missing = [source for source in needed if source not in made]
        if missing:
            stack.append(missing[0])
            continue
        made[use] = len(calls)
        calls.append(Call(use[0], tuple(made[source] for source in needed)))
        stack.pop()
    return tuple(calls)


def _parse_ends(value: object, pointer: str, indices: dict[str, int]) -> list[tuple[int, int]]:
    """Parse `["dense", 0, 0]`, or a list with one such entry, to a list with one (layer, use)."""
    ends = [value] if isinstance(value, list) and value and isinstance(value[0], str) else value
    if not isinstance(ends, list) or len(ends) != 1:
        raise _build_error(pointer, "The network must have exactly one input and one output.")
    return [_parse_source(ends[0], indices, pointer)]


def _iterate_histories(node: object, pointer: str) -> Iterator[object]:
    """Yield the source of each input of a node. Keras 3 writes it in the tensors of `args`, Keras 2 in a list."""
    if isinstance(node, list):
        for history in node:
            if isinstance(history, list) and len(history) > 3 and history[3]:  # noqa: PLR2004 - name, use, tensor
                raise _build_error(pointer, "A layer must be called with only its inputs. Remove the other arguments.")
            yield history
        return
    call = _check_mapping(node, pointer)
    if any(
        value not in (None, False) for value in _check_mapping(call.get("kwargs") or {}, f"{pointer}/kwargs").values()
    ):
        raise _build_error(f"{pointer}/kwargs", "A layer must be called with only its inputs. Remove `kwargs`.")
    arguments = call.get("args")
    tensors = arguments if isinstance(arguments, list) else []
    if len(tensors) == 1 and isinstance(tensors[0], list):
        tensors = tensors[0]
    for tensor in tensors:
        yield _check_mapping(_check_mapping(tensor, pointer).get("config"), pointer).get("keras_history")


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
