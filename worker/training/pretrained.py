"""Weights to start from."""

from dataclasses import dataclass
from pathlib import Path

import keras

from shared.networks.builder import build_network
from shared.registry.pretrained import PretrainedVersion
from shared.spec.network import NetworkSpec


@dataclass(frozen=True)
class InitialWeights:
    """A version, and its model.weights.h5 on this machine."""

    base: PretrainedVersion
    weights: Path


def load_initial_weights(network: keras.Model, start: InitialWeights) -> None:
    """Of every layer that is as it was; a head that was made anew keeps what was drawn for it."""
    plain = NetworkSpec.model_construct(layers=None, keras=start.base.architecture, from_=None, freeze=())
    source = build_network(plain, start.base.contract.input_shape, "base")
    source.load_weights(start.weights)
    for old, new in zip(source.layers, network.layers, strict=True):
        if [weight.shape for weight in old.weights] == [weight.shape for weight in new.weights]:
            new.set_weights(old.get_weights())
