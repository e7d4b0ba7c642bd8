"""Read a model file of Keras: its network as JSON, and its arrays.

Nothing is deserialised by Keras, and nothing in the file is executed.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from api.ingestion.result import UNREADABLE, UploadLimits
from shared.errors import Fault, InvalidRequest
from shared.spec.model_import import ArrayPlace, ImportedFile

ARRAYS_FILE = "arrays.npz"
POINTER = "#/file"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
MAX_CONFIG_BYTES = 8 * 2**20
MAX_OBJECTS = 20_000
MAX_DEPTH = 40
MAX_LEVELS = 150
"""The most nested levels in the JSON of a network; other processes read fewer than 200."""
MAX_DIMENSIONS = 8
KNOWN_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
"""Filters of HDF5 itself. It would look for others among the libraries of this machine."""
DTYPES = ("float16", "float32", "float64", "int32", "int64")
"""Types of weights; a Normalization counts in integers."""
ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""The groups of the layers in files of Keras 3, and of its predecessor in Keras 2."""
NOT_WEIGHTS = frozenset({"seed_generator", "optimizer", "metrics"})


class ModelFile(BaseModel):
    """A model file that was read.

    Attributes:
        architecture: what `to_json()` of Keras prints; None if the file has weights alone.
        file: the layout of the weights, which are in ARRAYS_FILE.
    """

    architecture: dict[str, Any] | None
    file: ImportedFile


def read_model_file(path: Path, limits: UploadLimits, folder: Path) -> ModelFile:
    """Read a `.keras`, a whole-model `.h5` or a `.weights.h5`, and write its arrays to ARRAYS_FILE in the folder.

    Raises InvalidRequest for any other file, and for links, data outside of the file and unknown filters in it.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(HDF5_MARK))
        if start == HDF5_MARK:
            copy = folder / "uploaded.h5"  # HDF5 does not open a file without a name
            shutil.copyfile(path, copy)
            return _read_hdf5(copy, None, limits, folder)
        if start.startswith(b"PK\x03\x04"):
            return _read_keras(path, limits, folder)
    except UNREADABLE as error:
        raise _refuse(f"The file is damaged: {str(error)[:200].rstrip('. ')}. Save the model again.") from None
    raise _refuse(
        "The file is neither a `.keras` nor an HDF5 file. Save the model with `model.save('model.keras')`, or its "
        "weights with `model.save_weights('model.weights.h5')`."
    )


def _read_keras(path: Path, limits: UploadLimits, folder: Path) -> ModelFile:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for name in (CONFIG, WEIGHTS):
            if names.count(name) != 1:
                raise _refuse(f"The zip has {names.count(name)} members {name!r}. Save the model again as `.keras`.")
        config, weights = archive.getinfo(CONFIG), archive.getinfo(WEIGHTS)
        if config.file_size > MAX_CONFIG_BYTES or weights.file_size > limits.bytes:
            raise _refuse(
                f"The model unpacks to {config.file_size + weights.file_size:,} bytes; the limits are "
                f"{MAX_CONFIG_BYTES:,} for {CONFIG} and {limits.bytes:,} (TRAINYARD_MAX_DATASET_BYTES) for its weights."
            )
        with archive.open(config) as member:
            architecture = _parse_architecture(member.read(MAX_CONFIG_BYTES))
        copy = folder / "unpacked.h5"
        with archive.open(weights) as member, copy.open("wb") as file:
            _copy(member, file, weights.file_size)
    try:
        return _read_hdf5(copy, architecture, limits, folder)
    finally:
        copy.unlink()


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    shutil.copyfileobj(source, target, 2**20)
    if target.tell() != size:
        raise _refuse(f"The member {WEIGHTS!r} has another size than the zip says. Save the model again.")


def _read_hdf5(path: Path, architecture: dict[str, Any] | None, limits: UploadLimits, folder: Path) -> ModelFile:
    with h5py.File(path, "r") as file:
        _check_objects(file)
        if architecture is None and "model_config" in file.attrs:
            architecture = _parse_architecture(_read_text(file, "model_config"))
        group = file.get("model_weights", file)
        if isinstance(group, h5py.Group) and ("layer_names" in group.attrs or "layer_names0" in group.attrs):
            places, datasets = _list_named(group), "names"
        else:
            places, datasets = _list_by_path(file), "paths"
        if not places:
            raise _refuse("The file has no weights of layers. Save a model of Keras, or its weights.")
        _check_sizes([dataset for _, dataset in places], limits)
        arrays = {f"arr_{number}": _read_array(dataset) for number, (_, dataset) in enumerate(places)}
        np.savez(folder / ARRAYS_FILE, allow_pickle=False, **arrays)
    found = tuple(place for place, _ in places)
    return ModelFile(architecture=architecture, file=ImportedFile(layout=datasets, arrays=found))


def _check_objects(file: h5py.File) -> None:
    """Check each object of the file: no links, no data of other files, no unknown filters. Raises InvalidRequest."""
    stack: list[tuple[h5py.Group, int]] = [(file, 0)]
    count = 0
    while stack:
        group, depth = stack.pop()
        for name in group:
            count += 1
            place = f"{group.name.rstrip('/')}/{name}"[:200]
            if count > MAX_OBJECTS or depth > MAX_DEPTH:
                raise _refuse(f"The file has more than {MAX_OBJECTS:,} objects, or groups deeper than {MAX_DEPTH}.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _refuse(f"{place!r} is a link to another place or file. Links are never followed.")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                stack.append((entry, depth + 1))
            elif isinstance(entry, h5py.Dataset):
                _check_dataset(entry, place)


def _check_dataset(dataset: h5py.Dataset, place: str) -> None:
    if dataset.external or dataset.is_virtual:
        raise _refuse(f"{place!r} has its numbers in another file. Other files are never read.")
    created = dataset.id.get_create_plist()
    filters = {created.get_filter(index)[0] for index in range(created.get_nfilters())}
    if not filters <= KNOWN_FILTERS:
        raise _refuse(f"{place!r} is compressed by a filter that is no part of HDF5. Save it without compression.")


def _list_by_path(file: h5py.File) -> list[tuple[ArrayPlace, h5py.Dataset]]:
    """List the arrays of the layers in a file of Keras 3, `layers/<layer>/…/vars/<index>`."""
    found = []
    root = next((file[name] for name in ROOTS if isinstance(file.get(name), h5py.Group)), None)
    for path, dataset in _walk(root) if root is not None else ():
        *groups, index = path.split("/")
        if groups[-1:] == ["vars"] and index.isdecimal() and not NOT_WEIGHTS & set(groups):
            found.append((ArrayPlace(path="/".join(["layers", *groups]), index=int(index)), dataset))
    return sorted(found, key=lambda one: (one[0].path, one[0].index))


def _walk(group: h5py.Group, above: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    for name in group:
        entry = group[name]
        if isinstance(entry, h5py.Dataset):
            yield f"{above}{name}", entry
        elif isinstance(entry, h5py.Group):
            yield from _walk(entry, f"{above}{name}/")


def _list_named(group: h5py.Group) -> list[tuple[ArrayPlace, h5py.Dataset]]:
    """List the arrays in a file of Keras 2, by the names of the layers and of their weights."""
    found = []
    for layer in _read_names(group, "layer_names"):
        inside = group.get(layer)
        if not isinstance(inside, h5py.Group):
            raise _refuse(f"The weights of the layer {layer[:100]!r} are missing. Save the model again.")
        names = _read_names(inside, "weight_names")
        if len(set(names)) < len(names):
            raise _refuse(f"Two weights of the layer {layer[:100]!r} have the same name. Save the model as `.keras`.")
        for index, name in enumerate(names):
            dataset = inside.get(name)
            if not isinstance(dataset, h5py.Dataset):
                raise _refuse(f"The weight {name[:100]!r} of the layer {layer[:100]!r} is missing.")
            found.append((ArrayPlace(path=layer, index=index, name=name), dataset))
    return found


def _read_names(group: h5py.Group, key: str) -> list[str]:
    """Read a list of names, which Keras divides into `key0`, `key1`, … if it is long."""
    keys = [key] if key in group.attrs else []
    while not keys or (keys != [key] and f"{key}{len(keys)}" in group.attrs):
        if f"{key}{len(keys)}" not in group.attrs:
            return []
        keys.append(f"{key}{len(keys)}")
    names: list[str] = []
    for one in keys:
        _check_attribute(group, one)
        names += [name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(group.attrs[one])]
    return names


def _read_text(file: h5py.File, key: str) -> bytes:
    _check_attribute(file, key)
    value = file.attrs[key]
    return value if isinstance(value, bytes) else str(value).encode()


def _check_attribute(group: h5py.Group, key: str) -> None:
    attribute = group.attrs.get_id(key)
    if attribute.dtype.itemsize * int(np.prod(attribute.shape, dtype=object)) > MAX_CONFIG_BYTES:
        raise _refuse(f"The attribute {key!r} has more than {MAX_CONFIG_BYTES:,} bytes, the limit.")


def _parse_architecture(content: bytes) -> dict[str, Any]:
    try:
        architecture = json.loads(content, parse_constant=_refuse_constant)
        _check_levels(architecture)
        json.dumps(architecture, ensure_ascii=False).encode()  # raises UnicodeEncodeError for half of a character
    except (ValueError, RecursionError) as error:
        raise _refuse(f"The network of the file is no JSON: {error}. Save the model again.") from None
    if not isinstance(architecture, dict):
        raise _refuse("The network of the file is no object of JSON. Save the model again.")
    return architecture


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it contains {name}")


def _check_levels(value: object) -> None:
    """Check how deep a JSON value is nested. Raises ValueError."""
    level = [value]
    for _ in range(MAX_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it has more than {MAX_LEVELS} nested levels, the limit")


def _check_sizes(datasets: list[h5py.Dataset], limits: UploadLimits) -> None:
    """Check types and sizes before any number is read. Raises InvalidRequest."""
    for dataset in datasets:
        if dataset.dtype.name not in DTYPES or dataset.shape is None or len(dataset.shape) > MAX_DIMENSIONS:
            raise _refuse(
                f"{dataset.name[:200]!r} has the dtype {str(dataset.dtype)[:50]} and the shape {dataset.shape}. "
                f"Weights are {', '.join(DTYPES)}."
            )
    total = sum(dataset.dtype.itemsize * int(np.prod(dataset.shape, dtype=object)) for dataset in datasets)
    if total > limits.bytes:
        raise _refuse(f"The weights have {total:,} bytes; the limit is {limits.bytes:,} (TRAINYARD_MAX_DATASET_BYTES).")


def _read_array(dataset: h5py.Dataset) -> NDArray[np.float32]:
    return np.asarray(dataset[()], np.float32)


def _refuse(detail: str) -> InvalidRequest:
    return InvalidRequest("The model cannot be imported.", (Fault(POINTER, detail),))
