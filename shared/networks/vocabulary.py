"""Check that the Embedding of a network has a vector for each word index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.networks.arguments import build_error
from shared.networks.keras_json import parse_keras_json
from shared.networks.layer_factory import LAYERS_POINTER
from shared.preprocessing.contract import Contract
from shared.preprocessing.text import TextContract
from shared.spec.network import MAX_LAYERS, LayerSpec, NetworkSpec

KEEPING_INDICES = frozenset({"Input", "InputLayer", "Reshape", "Flatten", "Permute", "RepeatVector"})
"""Layers whose outputs are the word indices that they take."""


@dataclass(frozen=True)
class _Embedding:
    """An Embedding of a network. `takes_indices` tells whether its inputs are word indices."""

    pointer: str
    input_dim: object
    takes_indices: bool


def check_vocabulary(network: NetworkSpec, contract: Contract) -> None:
    """Check that each Embedding takes word indices, and has as many vectors as the vocabulary has indices.

    Raises InvalidRequest.
    """
    if not isinstance(contract, TextContract):
        return
    for embedding in _list_embeddings(network):
        size = embedding.input_dim
        if not embedding.takes_indices:
            raise build_error(
                embedding.pointer,
                "The Embedding takes the outputs of a layer that changes them, and they are no word indices any more. "
                "Put the Embedding first.",
            )
        if type(size) is int and size < contract.size:
            raise build_error(
                f"{embedding.pointer}/input_dim",
                f"The Embedding has {size:,} vectors, and `preprocessing.text.vocabulary` is {contract.size:,}. Set "
                f"`input_dim` to at least {contract.size}, or `preprocessing.text.vocabulary` to {size}.",
            )


def _list_embeddings(network: NetworkSpec) -> Iterator[_Embedding]:
    if network.layers is not None:
        yield from _list_embeddings_of_layers(network.layers)
    elif network.keras is not None:
        yield from _list_embeddings_of_keras(network.keras)


def _list_embeddings_of_layers(layers: Sequence[LayerSpec]) -> Iterator[_Embedding]:
    keeps = True
    for index, layer in enumerate(layers):
        inner, pointer = layer, f"{LAYERS_POINTER}/{index}"
        if layer.layer == "TimeDistributed" and layer.layers:
            inner, pointer = layer.layers[0], f"{pointer}/layers/0"
        if inner.layer == "Embedding":
            yield _Embedding(pointer, inner.arguments.get("input_dim"), keeps)
        keeps = keeps and inner.layer in KEEPING_INDICES


def _list_embeddings_of_keras(document: dict[str, Any]) -> Iterator[_Embedding]:
    read = parse_keras_json(document, MAX_LAYERS)
    indices = {0}
    for number, call in enumerate(read.calls[1:], 1):
        layer = read.layers[call.layer]
        keeps = indices.issuperset(call.inputs)
        inner = dict(layer.wrapped).get("layer", layer) if layer.class_name == "TimeDistributed" else layer
        if inner.class_name == "Embedding":
            yield _Embedding(f"{inner.pointer}/config", inner.arguments.get("input_dim"), keeps)
        elif keeps and inner.class_name in KEEPING_INDICES:
            indices.add(number)
