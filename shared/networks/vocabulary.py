"""Check that the Embedding of a network has a vector for each word index."""

from collections.abc import Iterator, Sequence
from typing import Any

from shared.networks.arguments import build_error
from shared.networks.builder import LAYERS_POINTER
from shared.networks.keras_json import parse_keras_json
from shared.preprocessing.contract import Contract
from shared.preprocessing.text import TextContract
from shared.spec.network import MAX_LAYERS, LayerSpec, NetworkSpec

KEEPING_INDICES = frozenset({"Input", "InputLayer", "Reshape", "Flatten", "Dropout", "Permute", "RepeatVector"})
"""Layers whose outputs are the word indices that they take."""


def check_vocabulary(network: NetworkSpec, contract: Contract) -> None:
    """Check that an Embedding that takes word indices has as many vectors as the vocabulary has indices.

    Raises InvalidRequest.
    """
    if not isinstance(contract, TextContract):
        return
    for pointer, arguments in _list_embeddings(network):
        size = arguments.get("input_dim")
        if type(size) is int and size < contract.size:
            raise build_error(
                f"{pointer}/input_dim",
                f"The Embedding has {size:,} vectors, and `preprocessing.text.vocabulary` is {contract.size:,}. Set "
                f"`input_dim` to at least {contract.size}, or `preprocessing.text.vocabulary` to {size}.",
            )


def _list_embeddings(network: NetworkSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON pointer to the arguments of each Embedding that takes word indices, and the arguments."""
    if network.layers is not None:
        yield from _list_embeddings_of_layers(network.layers)
    elif network.keras is not None:
        yield from _list_embeddings_of_keras(network.keras)


def _list_embeddings_of_layers(layers: Sequence[LayerSpec]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, layer in enumerate(layers):
        inner, pointer = layer, f"{LAYERS_POINTER}/{index}"
        if layer.layer == "TimeDistributed" and layer.layers:
            inner, pointer = layer.layers[0], f"{pointer}/layers/0"
        if inner.layer == "Embedding":
            yield pointer, inner.arguments
        if inner.layer not in KEEPING_INDICES:
            return


def _list_embeddings_of_keras(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    read = parse_keras_json(document, MAX_LAYERS)
    indices = {0}
    for number, call in enumerate(read.calls[1:], 1):
        layer = read.layers[call.layer]
        if not indices.issuperset(call.inputs):
            continue
        if layer.class_name in KEEPING_INDICES:
            indices.add(number)
        if layer.class_name == "Embedding":
            yield f"{layer.pointer}/config", layer.arguments
