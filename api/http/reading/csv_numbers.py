"""Parse rows of numbers from CSV."""

import csv
import io
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.datasets.columns import find_positions
from shared.errors import InvalidRequest, MalformedRequest, RequestTooLarge

MAX_NAMED = 50
MAX_VALUES = 4_000_000


def parse_csv(body: bytes, columns: Sequence[str]) -> NDArray[np.float64]:
    """Parse CSV whose first line has the names of the columns. Returns (n, k).

    Args:
        columns: the columns to return, by name; empty for all. A header with another number of cells than the rows
            has no names for them, and all are returned.

    Raises MalformedRequest, InvalidRequest for a missing column, or RequestTooLarge for more than MAX_VALUES numbers.
    """
    values, width = array("d"), 0
    indices: Sequence[int] = ()
    try:
        lines = (line for line in csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")) if line)
        names = next(lines, [])
        for number, line in enumerate(lines, 1):
            if number == 1:
                width = len(line)
                indices = (find_columns(names, columns) if width == len(names) else None) or range(width)
            if len(line) != width:
                raise MalformedRequest(
                    f"Invalid input. Row {number} of the CSV has {len(line)} cells, and row 1 has {width}."
                )
            values.extend([float(line[index]) for index in indices])
            if len(values) > MAX_VALUES:
                raise RequestTooLarge(f"The CSV has more than {MAX_VALUES:,} numbers, the limit. Send fewer rows.")
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise MalformedRequest(f"Invalid input. The CSV cannot be read: {error}.") from None
    return np.frombuffer(values, np.float64).reshape(-1, max(len(indices), 1))


def find_columns(names: Sequence[object], columns: Sequence[str]) -> list[int] | None:
    """Return the positions of `columns` among the names of a request. Returns None if either has no names.

    Raises InvalidRequest for a missing column.
    """
    if not columns or not names:
        return None
    positions = find_positions(map(str, names))
    if missing := [name for name in columns if name not in positions]:
        raise InvalidRequest(f"The columns {missing} are missing. The request has {list(names[:MAX_NAMED])}.")
    return [positions[name] for name in columns]
