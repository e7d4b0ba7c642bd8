"""What is inside of a layer: its kernel, or what it makes of an input."""

import json
from pathlib import Path

import keras
import numpy as np

from shared.networks.builder import build_network
from shared.spec.network import NetworkSpec


def write_layer_output(folder: Path, input_shape: tuple[int, ...], name: str) -> None:
    """Writes output.npy: the layer's first array, empty where it has none, or what it makes of the folder's input.npy.

    The folder has the network as architecture.json and model.weights.h5.
    """
    architecture = json.loads((folder / "architecture.json").read_text())
    network = build_network(
        NetworkSpec.model_construct(layers=None, keras=architecture, from_=None, freeze=()), input_shape, "looked_into"
    )
    network.load_weights(folder / "model.weights.h5")
    layer = network.get_layer(name)
    if (folder / "input.npy").exists():
        inputs = np.load(folder / "input.npy", allow_pickle=False)
        output = keras.Model(network.input, layer.output).predict(inputs, verbose=0)
    else:
        output = next(iter(layer.get_weights()), np.zeros(0))
    np.save(folder / "output.npy", np.asarray(output, np.float32))
    keras.utils.clear_session(free_memory=False)
