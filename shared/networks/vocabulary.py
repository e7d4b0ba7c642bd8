"""Check that the Embedding of a network has a vector for each word index."""

from collections.abc import Iterator
from typing import Any

from shared.networks.arguments import build_error
from shared.networks.builder import LAYERS_POINTER
from shared.networks.keras_json import parse_keras_json
from shared.preprocessing.contract import Contract
from shared.preprocessing.text import TextContract
from shared.spec.network import MAX_LAYERS, NetworkSpec

INPUTS = ("Input", "InputLayer")


def check_vocabulary(network: NetworkSpec, contract: Contract) -> None:
    """Check that an Embedding that takes the network's input has as many vectors as the vocabulary has indices.

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
    """Yield the JSON pointer to the arguments of each Embedding that takes the input, and the arguments."""
    if network.layers is not None:
        for index, layer in enumerate(network.layers):
            if layer.layer == "Embedding":
                yield f"{LAYERS_POINTER}/{index}", layer.arguments
            if layer.layer not in INPUTS:
                return
    elif network.keras is not None:
        read = parse_keras_json(network.keras, MAX_LAYERS)
        for call in read.calls[1:]:
            layer_config = read.layers[call.layer]
            if call.inputs == (0,) and layer_config.class_name == "Embedding":
                yield f"{layer_config.pointer}/config", layer_config.arguments
