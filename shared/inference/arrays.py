"""Convert the numbers of a request, nested lists of JSON or an array, to an array."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

REAL_TYPES = frozenset({int, float})
TYPE_NAMES = {
    bool: "a boolean",
    dict: "an object",
    float: "a float where integers are expected",
    str: "a string",
    type(None): "null",
}


def to_array(values: Any, types: frozenset[type], dtype: DTypeLike) -> NDArray[Any]:  # noqa: ANN401 - JSON, or an array
    """Convert nested lists of these types of numbers, or an array, to an array of `dtype`.

    A number too large for a float becomes infinite. The types are checked because NumPy would read null as NaN and the
    string "1" as 1, and would allocate the length of the longest string for every string. A list may contain arrays.
    Raises ValueError.
    """
    if isinstance(values, list) and values and all(isinstance(value, np.ndarray) for value in values):
        values = np.stack(values)  # raises ValueError for different shapes
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype == object:
        _check_types(array, types)
    else:
        _check_array(array, types, np.dtype(dtype))
    try:
        with np.errstate(over="ignore"):
            return array.astype(dtype, copy=False)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _check_types(array: NDArray[Any], types: frozenset[type]) -> None:
    found = set(map(type, array.reshape(-1)))
    if found & {list, np.ndarray}:
        raise ValueError("the rows of an input must all have the same length")
    if not found <= types:
        named = sorted(TYPE_NAMES.get(other, other.__name__) for other in found - types)
        raise ValueError(f"an input must contain only numbers, and there is {', '.join(named)}")


def _check_array(array: NDArray[Any], types: frozenset[type], dtype: np.dtype[Any]) -> None:
    """Check the numbers of an array as `_check_types` checks those of lists. NumPy would cut and wrap them."""
    if array.dtype.kind == "f" and float not in types:
        raise ValueError(f"an input must contain only numbers, and there is {TYPE_NAMES[float]}")
    if array.dtype.kind == "i" and dtype.kind in "iu" and array.size:
        for value in (array.min(), array.max()):
            if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
                raise ValueError(f"Python integer {value} out of bounds for {dtype.name}")
