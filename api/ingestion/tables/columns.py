"""Read the columns of a table: numbers, words for 0 and 1, categories, and missing values that are filled."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import MAX_FAULTS, MEAN, MEDIAN, MOST_FREQUENT, ONE_HOT, ColumnOptions, dataset_error
from api.ingestion.tables.csv_reader import Line
from shared.datasets.cells import MAX_FLOAT32, MISSING_VALUES, WORDS, NumberFormat
from shared.datasets.columns import MAX_COLUMNS
from shared.datasets.encodings import ColumnEncoding, count_width
from shared.errors import DatasetRefused, Fault

MAX_CATEGORIES = 1000
MAX_CELLS = 3
"""The most cells of a column that a refusal lists: it names every column at fault."""
FILL_NUMBERS = f'{{"fill": "{MEDIAN}"}}'
FILL_CATEGORIES = f'{{"encode": "{ONE_HOT}", "fill": "{MOST_FREQUENT}"}}'


@dataclass
class RowFaults:
    """Faults that were found in the rows.

    Attributes:
        rows: a sentence for each of the first MAX_FAULTS faults of a row.
        more: number of such faults beyond these.
        cells: the number of cells at fault by column, and a sentence for the first MAX_CELLS of them.
        missing: the number of missing values by column, the numbers of the first MAX_FAULTS rows (from 1), and the
            options of the column with which they are filled; empty if they cannot be.
    """

    rows: list[str] = field(default_factory=list)
    more: int = 0
    cells: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    missing: dict[str, tuple[int, list[int], str]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        if len(self.rows) < MAX_FAULTS:
            self.rows.append(text)
        else:
            self.more += 1

    def add_cell(self, column: str, text: str) -> None:
        number, texts = self.cells.get(column, (0, []))
        self.cells[column] = number + 1, [*texts, text] if number < MAX_CELLS else texts

    def add_missing(self, column: str, row: int, options: str = "") -> None:
        number, rows, _ = self.missing.get(column, (0, [], ""))
        self.missing[column] = number + 1, [*rows, row] if number < MAX_FAULTS else rows, options

    def check(self) -> None:
        """Check that no fault was found. Raises DatasetRefused."""
        texts = list(self.rows)
        for column, (number, cells) in self.cells.items():
            texts += cells
            if number > len(cells):
                texts.append(f"Column {column!r}: {number - len(cells):,} more rows have such a fault.")
        texts += [_format_missing(column, *missing) for column, missing in self.missing.items()]
        if texts:
            raise dataset_error(*texts, more=self.more)


@dataclass(frozen=True)
class NumberedRow:
    """A row of the table. `number` counts the rows from 1; `line` is its line in the file."""

    number: int
    line: int
    cells: list[str]


class ColumnReader:
    """Reads one input column of all rows, in chunks.

    Args:
        index: position of the column in the file.
        categories: the categories of a one-hot column; empty for others.
        filled: what is in place of a missing value: None, a rule of ColumnOptions, or the value itself.
        is_input: whether the options `columns` and `leave_out` can name the column.
    """

    def __init__(
        self,
        index: int,
        name: str,
        categories: tuple[str, ...],
        filled: float | str | None,
        number_format: NumberFormat,
        *,
        is_input: bool = True,
    ) -> None:
        self._is_input = is_input
        self.index = index
        self.name = name
        self._categories = {category: position for position, category in enumerate(categories)}
        self._filled = filled
        self._format = number_format
        self._words: tuple[str, ...] = ()
        self._has_numbers = False
        self._missing = False

    @property
    def width(self) -> int:
        return len(self._categories) or 1

    def read(self, rows: Sequence[NumberedRow], faults: RowFaults) -> NDArray[np.float64]:
        """Return the numbers of the rows, (rows, width): NaN for a missing value that is filled later.

        Adds each bad cell to `faults`, and returns 0 for it.
        """
        cells = [row.cells[self.index] for row in rows]
        if self._categories:
            return self._read_categories(rows, cells, faults)
        values = self._parse_column(rows, cells, faults)
        for position in np.flatnonzero(~(np.abs(values) <= MAX_FLOAT32)).tolist():
            text = cells[position]
            if text.lower() not in MISSING_VALUES:
                reason = f"{text[:40]!r} is not a finite 32-bit number (limit ±3.4e38); correct it or remove the row"
                faults.add_cell(self.name, self._locate(rows[position], reason))
            elif self._filled is not None:
                self._missing = True
                continue
            else:
                faults.add_missing(self.name, rows[position].number, FILL_NUMBERS if self._is_input else "")
            values[position] = 0
        return values[:, np.newaxis]

    def finish(self, values: NDArray[np.float32]) -> ColumnEncoding:
        """Fill the missing values in `values`, (rows, width), and return the encoding of the column.

        Raises DatasetRefused if all values are missing.
        """
        fill = self._filled
        if not self._categories and fill in (MEAN, MEDIAN):
            present = values[~np.isnan(values)]
            if not len(present):
                raise dataset_error(f"Column {self.name!r}: all values are missing. Leave it out (`leave_out`).")
            fill = float(np.mean(present, dtype=np.float64) if fill == MEAN else np.median(present))
        if self._missing and not self._categories:
            values[np.isnan(values)] = fill
        return ColumnEncoding(self.name, tuple(self._categories), self._words, fill)

    def _read_categories(self, rows: Sequence[NumberedRow], cells: list[str], faults: RowFaults) -> NDArray[np.float64]:
        values = np.zeros((len(rows), len(self._categories)))
        for position, cell in enumerate(cells):
            name = cell
            if cell.lower() in MISSING_VALUES:
                if self._filled is None:
                    faults.add_missing(self.name, rows[position].number, FILL_CATEGORIES)
                    continue
                name = str(self._filled)
            values[position, self._categories[name]] = 1
        return values

    def _parse_column(self, rows: Sequence[NumberedRow], cells: list[str], faults: RowFaults) -> NDArray[np.float64]:
        """Parse the cells. Returns NaN for missing values; adds every other cell that is no number to `faults`."""
        if self._format.decimal == "." and not self._words:
            try:
                values = np.asarray(cells, np.float64)
            except ValueError:
                pass
            else:
                if "_" not in "".join(cells):
                    self._has_numbers |= bool((~np.isnan(values)).any())
                    return values
        self._find_words(cells)
        return np.asarray([self._parse_cell(row, cell, faults) for row, cell in zip(rows, cells, strict=True)])

    def _find_words(self, cells: list[str]) -> None:
        """Determine the words for 0 and 1, if the first values of the column are words."""
        if not (self._words or self._has_numbers):
            first = next((cell.lower() for cell in cells if cell.lower() not in MISSING_VALUES), "")
            self._words = next((words for words in WORDS if first in words), ())

    def _parse_cell(self, row: NumberedRow, text: str, faults: RowFaults) -> float:
        if text.lower() in MISSING_VALUES:
            return math.nan
        if text.lower() in self._words:
            return float(self._words.index(text.lower()))
        value = self._format.parse(text) if not self._words else None
        if value is not None:
            self._has_numbers = True
            return value
        faults.add_cell(self.name, self._locate(row, self._explain(text)))
        return 0.0

    def _explain(self, text: str) -> str:
        """Return why a cell is no number."""
        if self._words:
            return f"{text[:40]!r} is neither {' nor '.join(map(repr, self._words))}, as the cells above"
        other = NumberFormat(self._format.separator, has_thousands=True)
        if other.parse(text) is not None:
            mark = "points" if self._format.decimal == "." else "commas"
            return f"{text[:40]!r} is not a number here: the file has decimal {mark}; use one mark in all numbers"
        if not self._is_input:
            return f"{text[:40]!r} is not a number"
        options = f'"{ONE_HOT}"' if self._filled is None else FILL_CATEGORIES
        remedy = f'leave the column out (`leave_out`), or send `columns` as {{"{self.name}": {options}}}'
        if " " in text:
            remedy += f", or `text={self.name}` if its texts are the input"
        return f"{text[:40]!r} is not a number; write a number, {remedy}"

    def _locate(self, row: NumberedRow, reason: str) -> str:
        return f"Row {row.number} (line {row.line}), column {self.name!r}: {reason}."


def make_readers(
    features: Sequence[int],
    names: Sequence[str],
    options: Mapping[int, ColumnOptions],
    number_format: NumberFormat,
    rows: Iterable[Line],
) -> list[ColumnReader]:
    """Make the readers of the input columns. `options` are those of columns by position.

    `rows` are read only if a column is one-hot: they have its categories. Raises DatasetRefused.
    """
    counts = {index: Counter[str]() for index, chosen in options.items() if chosen.encode == ONE_HOT}
    if counts:
        for _, cells in rows:
            for index, counted in counts.items():
                if index < len(cells) and cells[index].lower() not in MISSING_VALUES:
                    counted[cells[index]] += 1
                    if len(counted) > MAX_CATEGORIES:
                        raise _column_error(
                            names[index],
                            f"The column has more than {MAX_CATEGORIES:,} categories, the limit for `{ONE_HOT}`. Leave "
                            "it out (`leave_out`).",
                        )
    readers = []
    for index in features:
        chosen = options.get(index, ColumnOptions())
        categories = sort_categories(counts[index]) if index in counts else ()
        if index in counts and not categories:
            raise _column_error(names[index], "All values are missing. Leave the column out (`leave_out`).")
        filled = _choose_fill(chosen, names[index], counts.get(index))
        readers.append(ColumnReader(index, names[index], categories, filled, number_format))
    width = sum(reader.width for reader in readers)
    if width > MAX_COLUMNS:
        raise dataset_error(f"The columns have {width:,} numbers; the limit is {MAX_COLUMNS:,}. Leave out columns.")
    return readers


def finish_columns(path: Path, readers: Sequence[ColumnReader]) -> tuple[ColumnEncoding, ...]:
    """Fill the missing values of x.npy, and return the encodings of the columns; empty if all are plain numbers."""
    x = np.load(path, mmap_mode="r+", allow_pickle=False)
    encodings = []
    start = 0
    for reader in readers:
        encodings.append(reader.finish(x[:, start : start + reader.width]))
        start += reader.width
    x.flush()
    assert start == count_width(encodings)  # noqa: S101 - the columns of x
    return () if all(encoding.is_plain for encoding in encodings) else tuple(encodings)


def sort_categories(names: Iterable[str]) -> tuple[str, ...]:
    """Sort the categories by number if all are integers, otherwise by Unicode code point."""
    ordered = sorted(names)
    if all(name.removeprefix("-").isdecimal() and name.isascii() for name in ordered):
        ordered.sort(key=int)
    return tuple(ordered)


def _choose_fill(chosen: ColumnOptions, name: str, counted: Counter[str] | None) -> float | str | None:
    """Return what is in place of a missing value: for numbers also MEAN or MEDIAN. Raises DatasetRefused."""
    fill = chosen.fill
    if counted is not None:
        if fill == MOST_FREQUENT:
            return min(counted, key=lambda category: (-counted[category], category))
        if fill is None or str(fill) in counted:
            return None if fill is None else str(fill)
        raise _column_error(name, f"`fill` is {fill!r}, which is no category of the column. Use `{MOST_FREQUENT}`.")
    if fill in (None, MEAN, MEDIAN) or (not isinstance(fill, str) and abs(fill) <= MAX_FLOAT32):
        return fill
    detail = f"`fill` is {fill!r}. Use `{MEDIAN}`, `{MEAN}` or a number, or for a column of text {FILL_CATEGORIES}."
    raise _column_error(name, detail)


def _column_error(name: str, detail: str) -> DatasetRefused:
    return DatasetRefused("The options do not fit the columns.", (Fault(f"#/columns/{name}", detail),))


def _format_missing(column: str, number: int, rows: list[int], options: str) -> str:
    shown = ", ".join(str(row) for row in rows)
    more = f" and {number - len(rows)} more" if number > len(rows) else ""
    values = "value is missing, in row" if number == 1 else "values are missing, in rows"
    remedy = "Fill in the cells, or remove the rows."
    if options:
        remedy = (
            "Fill in the cells, remove the rows, leave out the column (`leave_out`), or send `columns` as "
            f'{{"{column}": {options}}}.'
        )
    return (
        f"Column {column!r}: {number} {values} {shown}{more}. {remedy} Empty cells and ?, NA, N/A, NaN, null, none and "
        "- count as missing."
    )
