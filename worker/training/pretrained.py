"""Load the weights of the version that a training starts from."""

from dataclasses import dataclass
from pathlib import Path

import keras

from shared.networks.builder import build_network
from shared.registry.pretrained import PretrainedVersion
from shared.spec.network import NetworkSpec


@dataclass(frozen=True)
class InitialWeights:
    """The version to start from. `path` is its file model.weights.h5 on this machine."""

    version: PretrainedVersion
    path: Path


def load_initial_weights(network: keras.Model, initial: InitialWeights) -> None:
    """Copy the weights of every layer whose weights have the same shapes. A new head keeps its random weights."""
    plain = NetworkSpec.model_construct(layers=None, keras=initial.version.architecture, from_=None, freeze=())
    source = build_network(plain, initial.version.contract.input_shape, "base")
    source.load_weights(initial.path)
    for old, new in zip(source.layers, network.layers, strict=True):
        if [weight.shape for weight in old.weights] == [weight.shape for weight in new.weights]:
            new.set_weights(old.get_weights())
