"""Read an uploaded file of weights: an .npz with the arrays of Keras's `get_weights()`, in their order."""

import lzma
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
NPY_VERSIONS = ((1, 0), (2, 0))
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
"""What zipfile and NumPy raise for damaged members: a header is a literal of Python, which they read and then use."""


@dataclass(frozen=True)
class WeightArray:
    """An array of the file, without its values. `member` is its name in the zip."""

    member: str
    name: str
    shape: tuple[int, ...]
    dtype: str


def describe_weights_file(path: Path, max_bytes: int, pointer: str = POINTER) -> list[WeightArray]:
    """Read the names, shapes and dtypes of the arrays, in the order of `get_weights()`. Reads no values.

    `np.savez(path, *model.get_weights())` names them `arr_0`, `arr_1` and so on; other names count in the order of the
    file. Raises InvalidRequest for a file that is not such an .npz, or whose arrays have more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if not 0 < len(entries) <= MAX_ARRAYS:
                raise _refuse(pointer, f"The file has {len(entries):,} arrays. Save 1 to {MAX_ARRAYS:,}.")
            if (unpacked := sum(entry.file_size for entry in entries)) > max_bytes:
                raise _refuse(pointer, f"The arrays unpack to {unpacked:,} bytes; the limit is {max_bytes:,}.")
            found = [_describe(archive, entry, pointer) for entry in entries]
    except UNREADABLE as error:
        raise _refuse(
            pointer, f"The file is not an .npz: {_tell(error)}. Save it with `np.savez(path, *model.get_weights())`."
        ) from None
    if len({array.member for array in found}) < len(found):
        raise _refuse(pointer, "Two arrays have the same name. Save each array once.")
    return sorted(found, key=_get_order)


def read_weights_file(path: Path, expected: Sequence[WeightShape]) -> list[NDArray[np.float32]]:
    """Read the arrays as float32 for a network with the `expected` weights. Raises InvalidRequest."""
    arrays = describe_weights_file(path, sum(8 * int(np.prod(weight.shape)) for weight in expected) + 2**20)
    check_weights([array.shape for array in arrays], expected)
    read = []
    try:
        with zipfile.ZipFile(path) as archive:
            for array in arrays:
                with archive.open(array.member) as member:
                    read.append(np.asarray(npy.read_array(member, allow_pickle=False), np.float32))
    except UNREADABLE as error:
        raise _refuse(POINTER, f"An array cannot be read: {_tell(error)}.") from None
    for array, values in zip(arrays, read, strict=True):
        if not np.isfinite(values).all():
            raise _refuse(POINTER, f"The array {array.name!r} has a value that is not finite as float32.")
    return read


def check_weights(shapes: Sequence[tuple[int, ...]], expected: Sequence[WeightShape]) -> None:
    """Check that arrays have the shapes of a network's weights, in their order. Raises InvalidRequest."""
    if len(shapes) != len(expected):
        listed = ", ".join(f"{weight.name} {list(weight.shape)}" for weight in expected[:20]) or "none"
        raise _refuse(
            POINTER, f"The file has {len(shapes)} arrays, and the network has {len(expected)} weights: {listed}."
        )
    for index, (shape, weight) in enumerate(zip(shapes, expected, strict=True)):
        if shape != weight.shape:
            raise _refuse(
                POINTER, f"Array {index} has the shape {list(shape)}, and {weight.name} needs {list(weight.shape)}."
            )


def _describe(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, pointer: str) -> WeightArray:
    name = entry.filename.removesuffix(".npy")
    try:
        with archive.open(entry) as member:
            version = npy.read_magic(member)
            if version not in NPY_VERSIONS:
                raise ValueError(f"its version of the format is {version[0]}.{version[1]}")
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(member)
            begins_at = member.tell()
    except UNREADABLE as error:
        detail = f"The array {name[:100]!r} is not one of NumPy: {_tell(error)}. Save the file with `np.savez`."
        raise _refuse(pointer, detail) from None
    if dtype.name not in DTYPES:
        raise _refuse(pointer, f"The array {name[:100]!r} has the dtype {str(dtype)[:50]}. Save {', '.join(DTYPES)}.")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0 or begins_at + size != entry.file_size:
        raise _refuse(pointer, f"The array {name[:100]!r} does not have the size that its header says.")
    return WeightArray(entry.filename, name, tuple(map(int, shape)), dtype.name)


def _tell(error: BaseException) -> str:
    return str(error)[:200].rstrip(". ") or type(error).__name__


def _get_order(array: WeightArray) -> int:
    numbered = re.fullmatch(r"arr_(\d{1,6})", array.name)
    return int(numbered[1]) if numbered else 0


def _refuse(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The weights do not fit.", (Fault(pointer, detail),))
