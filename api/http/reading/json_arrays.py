"""Take the arrays of numbers out of JSON values, so that a process can send them to another as bytes."""

import json
import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel

from api.http.bodies import MAX_JSON_VALUES
from shared.errors import RequestTooLarge

MIN_NUMBERS = 64
"""Lists of fewer numbers stay as they are."""
MAX_LEVELS = 6
"""Lists that are nested deeper in the document are not searched for arrays."""
MAX_ARRAYS = 10_000
MAX_LOOSE_VALUES = MAX_JSON_VALUES // 4
NUMBER_TYPES = {int, float}


class ArrayPlace(BaseModel):
    """An array that was taken out. `path` leads to it, by keys and indices."""

    path: tuple[int | str, ...]
    dtype: str
    shape: tuple[int, ...]


@dataclass
class SplitJson:
    """JSON values in which null stands for each array, and the arrays. `loose` counts the values that are left."""

    document: Any
    places: list[ArrayPlace]
    arrays: list[NDArray[Any]]
    loose: int = 0

    def add_array(self, path: tuple[int | str, ...], array: NDArray[Any]) -> None:
        """Add an array. Raises RequestTooLarge for more than MAX_ARRAYS."""
        self.places.append(ArrayPlace(path=path, dtype=array.dtype.str, shape=array.shape))
        self.arrays.append(array)
        if len(self.arrays) > MAX_ARRAYS:
            raise RequestTooLarge(
                f"The JSON has more than {MAX_ARRAYS:,} separate lists of numbers, the limit. Send fewer inputs in a "
                "request, or all in one list."
            )

    def count_loose(self, number: int) -> None:
        """Count values that are left. Raises RequestTooLarge for more than MAX_LOOSE_VALUES."""
        self.loose += number
        if self.loose > MAX_LOOSE_VALUES:
            raise RequestTooLarge(
                f"The JSON has more than {MAX_LOOSE_VALUES:,} values outside of regular lists of numbers, the limit. "
                "Send fewer inputs in a request, or rows that all have the same length and contain only numbers."
            )


def split_arrays(document: Any) -> SplitJson:  # noqa: ANN401 - JSON
    """Take out all regular lists of at least MIN_NUMBERS numbers: int64 if all are integers, else float64.

    A list is regular if it, or every list in it, has the same shape and contains only integers and floats. Changes the
    document. Raises RequestTooLarge for more than MAX_ARRAYS arrays or MAX_LOOSE_VALUES other values.
    """
    split = SplitJson(document, [], [])
    split.document = _take(split, document, ())
    return split


def join_arrays(document: Any, places: list[ArrayPlace], content: memoryview) -> Any:  # noqa: ANN401 - JSON
    """Put arrays back in their places. `content` are their bytes, one after another. Returns the document."""
    start = 0
    for place in places:
        dtype = np.dtype(place.dtype)
        array = np.frombuffer(content, dtype, int(np.prod(place.shape)), start).reshape(place.shape)
        start += array.nbytes
        if not place.path:
            return array
        *parents, last = place.path
        container = document
        for part in parents:
            container = container[part]
        container[last] = array
    return document


def dump_values(document: Any) -> bytes:  # noqa: ANN401 - JSON
    """Format the values that are left, also NaN and unpaired surrogates, for which orjson has no form."""
    try:
        return json.dumps(document).encode() if _has_special(document) else orjson.dumps(document)
    except TypeError:
        return json.dumps(document).encode()


def load_values(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parse what `dump_values` has formatted."""
    try:
        return orjson.loads(content)
    except ValueError:
        return json.loads(content)


def _has_special(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether there is a NaN or an infinity in the values."""
    if isinstance(value, float):
        return not math.isfinite(value)
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_special(entry) for entry in entries)


def _take(split: SplitJson, value: Any, path: tuple[int | str, ...]) -> Any:  # noqa: ANN401 - JSON
    """Return the value, or None if it is an array and was taken out. Raises RequestTooLarge."""
    if isinstance(value, list) and len(path) <= MAX_LEVELS and (array := _to_array(value)) is not None:
        split.add_array(path, array)
        return None
    entries = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    if entries:
        split.count_loose(len(value))
    for key, entry in entries:
        if isinstance(entry, list | dict):
            value[key] = _take(split, entry, (*path, key))
    return value


def _to_array(value: list[Any]) -> NDArray[Any] | None:
    """Return a regular list of at least MIN_NUMBERS numbers as an array, else None.

    Every loop over the numbers is one of C, because there can be millions.
    """
    shape, flat = [len(value)], value
    while (types := set(map(type, flat))) == {list} and len(shape) <= MAX_LEVELS:
        lengths = set(map(len, flat))
        if len(lengths) > 1:
            return None
        shape.extend(lengths)
        flat = list(chain.from_iterable(flat))
    if not types or not types <= NUMBER_TYPES or len(flat) < MIN_NUMBERS:
        return None
    try:
        return np.array(flat, np.float64 if float in types else np.int64).reshape(shape)
    except OverflowError:  # an integer of more than 64 bits
        return None
