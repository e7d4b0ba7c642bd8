"""Convert the inline data of a spec, nested lists of numbers or texts, to rows and check each entry."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.cells import MAX_FLOAT32
from shared.datasets.info import DatasetInfo, TargetKind, choose_column_kind
from shared.datasets.labels import MAX_CLASSES, encode_labels, find_class_name_faults
from shared.datasets.row_files import TextRows
from shared.datasets.texts import find_text_fault
from shared.datasets.weights import find_weight_fault
from shared.errors import Fault, InvalidRequest
from shared.spec.dataset import Inline, InlineData

POINTER = "#/dataset/inline"
MAX_RANK = 5
IMAGE_RANK = 4  # rows, height, width, channels
IMAGE_CHANNELS = (1, 3)
WHITE = 255
MAX_CLASS_INDEX = 2**31
"""Integer labels with an absolute value of at least this are numbers, not classes."""


def read_inline(data: Inline) -> tuple[DatasetInfo, NDArray[Any] | TextRows, NDArray[Any]]:
    """Return the `DatasetInfo`, x and y of inline data.

    Rows of the shape height × width × 1 or 3 with integers from 0 to 255 are images: x is uint8
    (n, height, width, channels). Rows that are strings are texts. All other rows are numbers: x is float32 (n, …).
    `DatasetInfo.targets` determines the form of y. Raises InvalidRequest for the first entry that is wrong.
    """
    assert isinstance(data, InlineData), "call read_stored_inline first"  # noqa: S101
    if len(data.x) != len(data.y):
        raise _build_error(
            f"{POINTER}/y",
            f"`x` has {len(data.x)} rows and `y` has {len(data.y)}. Both must have the same number of rows.",
        )
    y, targets, classes = _read_y(data.y)
    width = 1 if y.ndim == 1 else y.shape[1]
    weighted = read_inline_weights(data) is not None
    if isinstance(data.x[0], str):
        texts = _read_texts(data.x)
        info = DatasetInfo((), False, targets, len(texts), 0, classes, width, weighted=weighted, texts=True)  # noqa: FBT003
        return replace(info, class_rows=_count_class_rows(y, targets)), texts, y
    x, images = _read_x(data.x)
    info = DatasetInfo(x.shape[1:], images, targets, len(x), 0, classes, width, weighted=weighted)
    return replace(info, class_rows=_count_class_rows(y, targets)), x, y


def _count_class_rows(y: NDArray[Any], targets: TargetKind) -> tuple[tuple[int, int], ...]:
    """Count the training and test rows of each class or integer label, in their order; nothing for other labels."""
    if targets not in (TargetKind.CLASSES, TargetKind.INTEGERS):
        return ()
    return tuple((count, 0) for count in np.unique(y, return_counts=True)[1].tolist())


def read_inline_weights(data: Inline) -> NDArray[np.float32] | None:
    """Return the weight of each row in the loss, (n,); None without weights. Raises InvalidRequest."""
    assert isinstance(data, InlineData), "call read_stored_inline first"  # noqa: S101
    if data.sample_weight is None:
        return None
    at = f"{POINTER}/sample_weight"
    if len(data.sample_weight) != len(data.x):
        raise _build_error(at, f"There are {len(data.sample_weight)} weights and {len(data.x)} rows. Give one each.")
    weights = np.asarray(data.sample_weight, np.float32)
    if fault := find_weight_fault(weights):
        raise _build_error(at, f"`sample_weight`: {fault}")
    return weights


def _read_texts(rows: list[Any]) -> TextRows:
    for index, row in enumerate(rows):
        at = f"{POINTER}/x/{index}"
        if not isinstance(row, str):
            raise _build_error(at, f"{str(row)[:40]!r} is not a text. The first row is a text, so all rows must be.")
        if fault := find_text_fault(row):
            raise _build_error(at, f"The text {fault}.")
    return TextRows.from_texts(rows)


def _read_x(rows: list[Any]) -> tuple[NDArray[Any], bool]:
    x = read_numbers(rows, f"{POINTER}/x")
    if x.ndim == 1:
        x = x[:, np.newaxis]
    pixels = x.ndim == IMAGE_RANK and x.shape[-1] in IMAGE_CHANNELS and x.min() >= 0 and x.max() <= WHITE
    if pixels and np.array_equal(x, np.round(x)):
        return x.astype(np.uint8), True
    return x.astype(np.float32), False


def _read_y(rows: list[Any]) -> tuple[NDArray[Any], TargetKind, tuple[str, ...]]:
    if isinstance(rows[0], str):
        return _read_names(rows)
    y = read_numbers(rows, f"{POINTER}/y")
    if y.ndim > 2:  # noqa: PLR2004 - an axis of rows and an axis of numbers
        raise _build_error(f"{POINTER}/y/0", "A label must be a number, a class name or a flat list of numbers.")
    y = y.reshape(len(rows), -1)
    if y.shape[1] == 1 and np.array_equal(y, np.round(y)) and np.abs(y).max() < MAX_CLASS_INDEX:
        labels = y[:, 0].astype(np.int64)
        values = np.unique(labels)
        return labels, TargetKind.INTEGERS, tuple(map(str, values)) if len(values) <= MAX_CLASSES else ()
    kind = choose_column_kind(y) if y.shape[1] > 1 else TargetKind.NUMBERS
    return y.astype(np.float32), kind, ()


def _read_names(rows: list[Any]) -> tuple[NDArray[Any], TargetKind, tuple[str, ...]]:
    for index, row in enumerate(rows):
        if not isinstance(row, str):
            raise _build_error(
                f"{POINTER}/y/{index}",
                f"{str(row)[:40]!r} is not a class name. The first label is a class name, so all labels must be.",
            )
    names, indices = encode_labels(rows)
    if faults := find_class_name_faults(names):
        raise _build_error(f"{POINTER}/y", faults[0])
    return indices, TargetKind.CLASSES, names


def read_numbers(rows: Any, pointer: str) -> NDArray[np.float64]:  # noqa: ANN401 - JSON
    """Return nested lists of numbers, which stand at `pointer`, as an array. Raises InvalidRequest for a fault."""
    shape = _find_row_shape(rows, pointer)
    _check_entry(rows, shape, pointer)
    return np.asarray(rows, dtype=np.float64)


def _find_row_shape(rows: list[Any], pointer: str) -> tuple[int, ...]:
    """Return the shape of the array, from the first entry at each level of nesting. Raises InvalidRequest."""
    shape: list[int] = []
    entry: Any = rows
    while isinstance(entry, list):
        if not entry:
            raise _build_error(pointer, "The list is empty. Each row needs at least one number.")
        shape.append(len(entry))
        if len(shape) > MAX_RANK:
            raise _build_error(pointer, f"The lists are nested deeper than {MAX_RANK} levels, the limit.")
        entry, pointer = entry[0], f"{pointer}/0"
    return tuple(shape)


def _check_entry(entry: Any, shape: tuple[int, ...], pointer: str) -> None:  # noqa: ANN401 - JSON
    if not shape:
        if isinstance(entry, bool) or not isinstance(entry, int | float):
            raise _build_error(pointer, f"{str(entry)[:40]!r} is not a number.")
        if not math.isfinite(entry) or abs(entry) > MAX_FLOAT32:
            raise _build_error(pointer, f"{entry} is not a finite 32-bit floating-point number.")
        return
    if not isinstance(entry, list):
        raise _build_error(pointer, f"Expected a list of {shape[0]} entries, as in the first row.")
    if len(entry) != shape[0]:
        raise _build_error(
            pointer, f"The list has {len(entry)} entries, the first row has {shape[0]}. Make them equal."
        )
    for index, inner in enumerate(entry):
        _check_entry(inner, shape[1:], f"{pointer}/{index}")


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The values in the spec are invalid.", (Fault(pointer, detail),))
