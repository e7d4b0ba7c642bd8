"""Write the kernel of a layer, or its output for given inputs."""

import json
from pathlib import Path

import keras
import numpy as np

from shared.networks.builder import build_network
from shared.spec.network import NetworkSpec


def write_layer_output(folder: Path, input_shape: tuple[int, ...], name: str) -> None:
    """Write output.npy, the output of the layer for input.npy if the folder has one, otherwise weights.npz.

    output.npy is float32. weights.npz has the arrays of `get_weights()` in their order, named `0 kernel`, `1 bias`. The
    folder contains the network as architecture.json and model.weights.h5. Raises InvalidRequest if the network cannot
    be built.
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
        np.save(folder / "output.npy", np.asarray(output, np.float32))
    else:
        weights = zip(layer.weights, layer.get_weights(), strict=True)
        arrays = {f"{index} {variable.name}": array for index, (variable, array) in enumerate(weights)}
        np.savez(folder / "weights.npz", allow_pickle=False, **arrays)
    keras.utils.clear_session(free_memory=False)
