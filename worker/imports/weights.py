"""Find out which array of a model file is which weight of a network that was built from its JSON."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from shared.errors import NetworkDoesNotFit
from shared.networks.builder import describe_weights
from shared.networks.weights_file import read_weights_file
from shared.spec.model_import import ArrayPlace, ImportedFile

MAX_LISTED = 5


def load_imported_weights(network: keras.Model, file: ImportedFile, path: Path) -> None:
    """Set the weights of a network to the arrays in the npz at `path`. Raises NetworkDoesNotFit or InvalidRequest."""
    order = _find_by_path(network) if file.layout == "paths" else _find_by_name(network, file.arrays)
    places = [(place.path, place.index) for place in file.arrays]
    missing, further = set(order) - set(places), set(places) - set(order)
    if missing or further or len(set(places)) < len(places):
        raise NetworkDoesNotFit(
            f"The weights of the file are not those of its network. Missing: {_list(missing)}. Not needed: "
            f"{_list(further)}. Save network and weights together, as `.keras`."
        )
    expected = describe_weights(network)
    arrays = read_weights_file(path, [expected[order[place]] for place in places])
    values: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(expected)
    for place, array in zip(places, arrays, strict=True):
        values[order[place]] = array
    network.set_weights(values)


def _find_by_path(network: keras.Model) -> dict[tuple[str, int], int]:
    """Return the position in `Model.get_weights()` of each path in a `.weights.h5` of this Keras.

    Each weight gets its own position as its value, and the file that Keras writes then tells it at each path.
    """
    before = network.get_weights()
    network.set_weights([np.full(weight.shape, index, np.float32) for index, weight in enumerate(before)])
    found = {}
    with TemporaryDirectory(prefix="trainyard-") as folder:
        path = Path(folder, "marked.weights.h5")
        network.save_weights(path)
        with h5py.File(path, "r") as file:

            def visit(name: str, entry: object) -> None:
                *groups, index = name.split("/")
                is_weight = groups[-1:] == ["vars"] and "seed_generator" not in groups
                if isinstance(entry, h5py.Dataset) and is_weight and entry.size:
                    found["/".join(groups), int(index)] = int(np.asarray(entry).reshape(-1)[0])

            file.visititems(visit)
    network.set_weights(before)
    return found


def _find_by_name(network: keras.Model, places: Sequence[ArrayPlace]) -> dict[tuple[str, int], int]:
    """Return the position in `Model.get_weights()` of each array of a file of Keras 2, by the name of its layer.

    The arrays of a layer are in the order of its weights, the trainable ones first. Those of a model inside of the
    network are matched by their names, because its layers can be in another order.
    """
    positions = {id(weight): index for index, weight in enumerate(network.weights)}
    names: dict[str, list[ArrayPlace]] = {}
    for place in places:
        names.setdefault(place.path, []).append(place)
    found = {}
    for layer in network.layers:
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]
        stored = names.get(layer.name, [])
        if isinstance(layer, keras.Model):
            by_name = {_get_name(weight.path): weight for weight in weights}
            wanted = [_get_name(place.name) for place in stored]
            if len(by_name) == len(weights) and sorted(wanted) == sorted(by_name):
                weights = [by_name[name] for name in wanted]
        for index, weight in enumerate(weights):
            found[layer.name, index] = positions[id(weight)]
    return found


def _get_name(path: str) -> str:
    """Return the name of a layer and that of its weight: `dense/kernel` for `model/dense/kernel:0`."""
    return "/".join(path.partition(":")[0].split("/")[-2:])


def _list(places: set[tuple[str, int]]) -> str:
    shown = [f"{path}/{index}" for path, index in sorted(places)[:MAX_LISTED]]
    more = f" and {len(places) - MAX_LISTED} more" if len(places) > MAX_LISTED else ""
    return (", ".join(shown) or "none") + more
