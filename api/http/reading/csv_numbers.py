"""Parse rows of numbers from CSV."""

import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import cast

import numpy as np
from numpy.typing import NDArray

from api.ingestion.tables.csv_reader import open_table
from shared.datasets.cells import POINT, WITH_THOUSANDS, DecimalMark, NumberFormat, is_header
from shared.datasets.columns import find_positions
from shared.datasets.encodings import ColumnEncoding, count_width, encode_row, read_cell
from shared.errors import DatasetRefused, InvalidRequest, MalformedRequest, RequestTooLarge

MAX_NAMED = 50
MAX_VALUES = 4_000_000
BATCH_CELLS = 16_384
SAMPLE_ROWS = 100
"""Number of rows from which the line of names is told."""


def parse_csv(
    body: bytes, columns: Sequence[str], encodings: Sequence[ColumnEncoding] = (), decimal: DecimalMark = "."
) -> NDArray[np.float64]:
    """Parse CSV with or without a line of names. Returns (n, k).

    Args:
        columns: the columns to return, by name; empty for all. Rows without names, and rows of another length than the
            names, are returned whole.
        encodings: how the cells of these columns become numbers; empty if they are numbers.
        decimal: the decimal mark of numbers that can be read in two ways, such as `"1,234"`.

    Raises MalformedRequest, InvalidRequest for a missing column or a cell that cannot be encoded, or RequestTooLarge
    for more than MAX_VALUES numbers.
    """
    values = array("d")
    indices: Sequence[int] = ()
    try:
        lines, number_format = _open(body, WITH_THOUSANDS[decimal])
        names, rest = next(lines, []), list(islice(lines, SAMPLE_ROWS))
        if not (columns and set(columns) <= set(names)) and not is_header([name.strip() for name in names], rest):
            names, rest = [], [names, *rest] if names else rest
        width = len(rest[0]) if rest else 0
        indices = (find_columns(names, columns) if width == len(names) else None) or range(width)
        for rows in _divide(chain(rest, lines), width):
            values.extend(_read_numbers(rows, indices, encodings, number_format))
            if len(values) > MAX_VALUES:
                raise RequestTooLarge(f"The CSV has more than {MAX_VALUES:,} numbers, the limit. Send fewer rows.")
    except DatasetRefused as refused:
        raise MalformedRequest(f"Invalid input. {refused.faults[0].detail}") from None
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise MalformedRequest(f"Invalid input. The CSV cannot be read: {error}.") from None
    return np.frombuffer(values, np.float64).reshape(-1, max(count_width(encodings) or len(indices), 1))


def _open(body: bytes, known: NumberFormat) -> tuple[Iterator[list[str]], NumberFormat]:
    """Return the rows of a CSV, and how its numbers are written: if they do not tell it, as `known`.

    Raises DatasetRefused or UnicodeDecodeError.
    """
    first = body[: body.find(b"\n")]
    if b'"' not in body and not any(mark in first for mark in b";\t|"):
        text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
        return filter(None, csv.reader(text)), POINT
    table = open_table(io.BytesIO(body), "utf-8-sig")
    number_format, _ = table.detect_number_format((), known)
    return (cells for _, cells in table.read_rows()), number_format


def _divide(lines: Iterable[list[str]], width: int) -> Iterator[list[list[str]]]:
    """Divide rows of `width` cells into lists of BATCH_CELLS cells. One by one, short rows take three times as long.

    Raises MalformedRequest for a row of another width.
    """
    iterator, count = iter(lines), 0
    while rows := list(islice(iterator, max(BATCH_CELLS // max(width, 1), 1))):
        if set(map(len, rows)) != {width}:
            number, found = next((number, len(row)) for number, row in enumerate(rows, count + 1) if len(row) != width)
            raise MalformedRequest(f"Invalid input. Row {number} of the CSV has {found} cells, and row 1 has {width}.")
        yield rows
        count += len(rows)


def _read_numbers(
    rows: list[list[str]], indices: Sequence[int], encodings: Sequence[ColumnEncoding], number_format: NumberFormat
) -> Iterable[float]:
    """Return the numbers of the cells at `indices`, row by row. Raises ValueError."""
    if indices != range(len(rows[0])):
        rows = [[row[index] for index in indices] for row in rows]
    if number_format is POINT and not encodings:
        return map(float, chain.from_iterable(rows))
    return chain.from_iterable(_read_row([cell.strip() for cell in row], encodings, number_format) for row in rows)


def _read_row(cells: list[str], encodings: Sequence[ColumnEncoding], number_format: NumberFormat) -> list[float]:
    """Return the numbers of a row. Raises ValueError."""
    if encodings:
        taken = [read_cell(cell, encoding, number_format) for cell, encoding in zip(cells, encodings, strict=True)]
        return encode_row(taken, encodings)
    numbers = [number_format.parse(cell) for cell in cells]
    if None in numbers:
        raise ValueError(f"could not convert string to float: {cells[numbers.index(None)][:40]!r}")
    return cast(list[float], numbers)


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
