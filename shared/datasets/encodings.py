"""Encode the cells of a table as numbers: one-hot columns, words for 0 and 1, and values in place of missing ones."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.cells import MAX_FLOAT32, MISSING_VALUES, POINT, NumberFormat
from shared.errors import list_names


@dataclass(frozen=True)
class ColumnEncoding:
    """How the cells of a column become numbers.

    Attributes:
        name: the name of the column, for messages.
        categories: the cell becomes one number for each, 1 for its own category and 0 for the others. Empty for a
            column of numbers.
        words: the words for 0 and for 1, in lower case; empty for other columns.
        fill: the number or category in place of a missing one; None if none may be missing.
    """

    name: str = ""
    categories: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    fill: float | str | None = None

    @property
    def width(self) -> int:
        """Return the number of numbers for a cell."""
        return len(self.categories) or 1

    @property
    def is_plain(self) -> bool:
        """Return whether a cell can only be a number."""
        return not (self.categories or self.words or self.fill is not None)

    def encode(self, cell: object) -> list[float]:
        """Return the numbers for a cell of JSON, or a cell of text. Raises ValueError with the reason."""
        value = self.fill if is_missing(cell) else cell
        if value is None:
            raise ValueError("a value is missing")
        if self.categories:
            return self._encode_category(value)
        if isinstance(value, str) and self.words and value.lower() in self.words:
            return [float(self.words.index(value.lower()))]
        if isinstance(value, bool) and not self.words:
            raise ValueError(f"{value} is not a number")
        if not isinstance(value, int | float):
            expected = f", nor {' or '.join(map(repr, self.words))}" if self.words else ""
            raise ValueError(f"{str(value)[:40]!r} is not a number{expected}")
        number = float(value) if abs(value) <= MAX_FLOAT32 else math.inf
        if not math.isfinite(number):
            raise ValueError("a number is not a finite 32-bit number (the limit is ±3.4e38)")
        if self.words and number not in (0, 1):
            raise ValueError(f"{value} is neither {' nor '.join(map(repr, self.words))}, nor 0 or 1")
        return [number]

    def decode(self, numbers: NDArray[Any]) -> float | str:
        """Return the cell that `encode` turns into these numbers."""
        if self.categories:
            return self.categories[int(np.argmax(numbers))]
        number = float(numbers[0])
        return self.words[int(number)] if self.words and number in (0, 1) else number

    def _encode_category(self, value: object) -> list[float]:
        name = to_category(value)
        if name not in self.categories:
            raise ValueError(f"{name[:40]!r} is none of the categories {list_names(self.categories)}")
        index = self.categories.index(name)
        return [float(position == index) for position in range(len(self.categories))]


def to_category(value: object) -> str:
    """Return the name of a category as a CSV has it: 3 and 3.0 are `3`, and spaces around it do not count."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def encode_row(row: Sequence[object], encodings: Sequence[ColumnEncoding]) -> list[float]:
    """Encode the cells of a row. Raises ValueError, which names the column at fault."""
    if len(row) != len(encodings):
        raise ValueError(f"a row has {len(encodings)} values, and there are {len(row)}")
    numbers: list[float] = []
    for index, (cell, encoding) in enumerate(zip(row, encodings, strict=True)):
        try:
            numbers += encoding.encode(cell)
        except ValueError as error:
            raise ValueError(f"column {encoding.name or index!r}: {error}") from None
    return numbers


def decode_row(numbers: NDArray[Any], encodings: Sequence[ColumnEncoding]) -> list[float | str]:
    """Return the row that `encode_row` turns into these numbers."""
    row: list[float | str] = []
    start = 0
    for encoding in encodings:
        row.append(encoding.decode(numbers[start : start + encoding.width]))
        start += encoding.width
    return row


def decode_cells(numbers: NDArray[Any], encodings: Sequence[ColumnEncoding]) -> list[float | str]:
    """Return the cells of a row as they were sent, from its numbers in 32 bits. No encodings are plain numbers."""
    cells = decode_row(numbers, encodings) if encodings else numbers.astype(float).tolist()
    # The shortest number that is the stored one in 32 bits: 0.1, and not 0.10000000149.
    return [cell if isinstance(cell, str) else float(str(np.float32(cell))) for cell in cells]


def read_cell(cell: str, encoding: ColumnEncoding, number_format: NumberFormat = POINT) -> float | str:
    """Return the number that a cell of text is, if its column has numbers; else the text."""
    value = number_format.parse(cell) if not (encoding.categories or is_missing(cell)) else None
    return cell if value is None else value


def encode_rows(rows: Sequence[Any], encodings: Sequence[ColumnEncoding]) -> NDArray[np.float64]:
    """Encode rows, each a list of cells, to (n, numbers). Raises ValueError, which names the row and the column."""
    encoded = []
    for index, row in enumerate(rows):
        try:
            encoded.append(encode_row(row if isinstance(row, list) else [row], encodings))
        except ValueError as error:
            raise ValueError(f"row {index}, {error}") from None
    return np.asarray(encoded, np.float64).reshape(len(encoded), count_width(encodings))


def expand_names(names: Sequence[str], encodings: Sequence[ColumnEncoding]) -> list[str]:
    """Return a name for each number of an encoded row, such as `sex=female` for a category."""
    if not encodings:
        return list(names)
    return [
        expanded
        for name, encoding in zip(names, encodings, strict=True)
        for expanded in ([f"{name}={category}" for category in encoding.categories] or [name])
    ]


def count_width(encodings: Iterable[ColumnEncoding]) -> int:
    """Return the length of an encoded row."""
    return sum(encoding.width for encoding in encodings)


def is_missing(cell: object) -> bool:
    """Return whether a cell of text, or of JSON, has no value."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING_VALUES
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
