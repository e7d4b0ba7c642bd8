"""Weights to start from."""

from dataclasses import dataclass
from pathlib import Path

import keras

from shared.networks.builder import build
from shared.registry.pretrained import Base
from shared.spec.network import Network


@dataclass(frozen=True)
class Start:
    """A version, and its model.weights.h5 on this machine."""

    base: Base
    weights: Path


def take_weights(network: keras.Model, start: Start) -> None:
    """Of every layer that is as it was; a head that was made anew keeps what was drawn for it."""
    plain = Network.model_construct(layers=None, keras=start.base.architecture, from_=None, freeze=())
    source = build(plain, start.base.contract.input_shape, "base")
    source.load_weights(start.weights)
    for old, new in zip(source.layers, network.layers, strict=True):
        if [weight.shape for weight in old.weights] == [weight.shape for weight in new.weights]:
            new.set_weights(old.get_weights())
