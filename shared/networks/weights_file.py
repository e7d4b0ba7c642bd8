"""Read an uploaded file of weights: an .npz with the arrays of Keras's `get_weights()`, in their order."""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.errors import Fault, InvalidRequest
from shared.networks.layer_row import WeightShape

POINTER = "#/network/weights"
MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 8
DTYPES = ("float16", "float32", "float64")
UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError)
UNREADABLE_HEADER = (*UNREADABLE, SyntaxError, tokenize.TokenError, MemoryError, RecursionError)


@dataclass(frozen=True)
class WeightArray:
    """An array of the file, without its values."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def describe_weights_file(path: Path, max_bytes: int) -> list[WeightArray]:
    """Read the names, shapes and dtypes of the arrays, in the order of `get_weights()`. Reads no values.

    `np.savez(path, *model.get_weights())` names them `arr_0`, `arr_1` and so on; other names count in the order of the
    file. Raises InvalidRequest for a file that is not such an .npz, or whose arrays have more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if not 0 < len(entries) <= MAX_ARRAYS:
                raise _refuse(f"The file has {len(entries):,} arrays. Save 1 to {MAX_ARRAYS:,}.")
            if (unpacked := sum(entry.file_size for entry in entries)) > max_bytes:
                raise _refuse(f"The arrays unpack to {unpacked:,} bytes; the limit is {max_bytes:,}.")
            found = [_describe(archive, entry) for entry in entries]
    except UNREADABLE as error:
        raise _refuse(
            f"The file is not an .npz: {error}. Save it with `np.savez(path, *model.get_weights())`."
        ) from None
    if len({array.name for array in found}) < len(found):
        raise _refuse("Two arrays have the same name. Save each array once.")
    return sorted(found, key=_get_order)


def read_weights_file(path: Path, expected: Sequence[WeightShape]) -> list[NDArray[np.float32]]:
    """Read the arrays as float32 for a network with the `expected` weights. Raises InvalidRequest."""
    arrays = describe_weights_file(path, sum(8 * int(np.prod(weight.shape)) for weight in expected) + 2**20)
    check_weights([array.shape for array in arrays], expected)
    with np.load(path, allow_pickle=False) as archive:
        try:
            read = [np.asarray(archive[array.name], np.float32) for array in arrays]
        except UNREADABLE as error:
            raise _refuse(f"An array cannot be read: {error}.") from None
    for array, values in zip(arrays, read, strict=True):
        if not np.isfinite(values).all():
            raise _refuse(f"The array {array.name!r} has a value that is not finite as float32.")
    return read


def check_weights(shapes: Sequence[tuple[int, ...]], expected: Sequence[WeightShape]) -> None:
    """Check that arrays have the shapes of a network's weights, in their order. Raises InvalidRequest."""
    if len(shapes) != len(expected):
        listed = ", ".join(f"{weight.name} {list(weight.shape)}" for weight in expected[:20]) or "none"
        raise _refuse(f"The file has {len(shapes)} arrays, and the network has {len(expected)} weights: {listed}.")
    for index, (shape, weight) in enumerate(zip(shapes, expected, strict=True)):
        if shape != weight.shape:
            raise _refuse(f"Array {index} has the shape {list(shape)}, and {weight.name} needs {list(weight.shape)}.")


def _describe(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> WeightArray:
    name = entry.filename.removesuffix(".npy")
    try:
        with archive.open(entry) as member:
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(member)
            begins_at = member.tell()
    except UNREADABLE_HEADER as error:
        raise _refuse(f"The array {name[:100]!r} cannot be read: {error}.") from None
    if dtype.name not in DTYPES:
        raise _refuse(f"The array {name[:100]!r} has the dtype {str(dtype)[:50]}. Save {', '.join(DTYPES)}.")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(shape) > MAX_DIMENSIONS or begins_at + size != entry.file_size:
        raise _refuse(f"The array {name[:100]!r} does not have the size that its header says.")
    return WeightArray(name, tuple(map(int, shape)), dtype.name)


def _get_order(array: WeightArray) -> int:
    numbered = re.fullmatch(r"arr_(\d{1,6})", array.name)
    return int(numbered[1]) if numbered else 0


def _refuse(detail: str) -> InvalidRequest:
    return InvalidRequest("The weights do not fit.", (Fault(POINTER, detail),))
