"""Read the rows of a CSV file: its encoding, its delimiter and its numbers."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO

from api.ingestion.result import dataset_error
from shared.datasets.columns import MAX_COLUMNS

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 100
"""Number of rows from which the delimiter and the header are detected."""
SAMPLE_CHARACTERS = 2**20
MAX_CHUNK_CELLS = 500_000
"""The most cells that are in memory as text at a time, except those of a single row."""
MAX_ROW_CHARACTERS = 2**23
"""The most characters of a row. A file without line breaks would otherwise be read into memory as a whole."""
MISSING_VALUES = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})
"""Cells that count as a missing value, in lower case."""


def decode_text(stream: IO[bytes]) -> io.TextIOWrapper:
    """Open the file as text: UTF-16 if it begins with a UTF-16 byte order mark, otherwise UTF-8.

    Line breaks are unchanged, as the csv module requires.
    """
    mark = stream.read(4)
    stream.seek(0)
    encoding = "utf-16" if mark[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def detect_delimiter(text: io.TextIOWrapper) -> str:
    """Return the delimiter that gives the largest number of sample rows the same number of cells.

    Of equal delimiters, the one with the larger share of numbers among the cells is chosen, then the one with more
    columns, then the first of DELIMITERS. Raises DatasetRefused for a file that is not text.
    """
    with _translate_csv_errors():
        sample = text.read(SAMPLE_CHARACTERS)
        text.seek(0)
    lines = sample.splitlines(keepends=True)[:SAMPLE_ROWS]
    scores = []
    for delimiter in DELIMITERS:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # a wide row is one long cell with the wrong delimiter; `read_rows` reports the rest
            rows.extend(row for row in csv.reader(lines, delimiter=delimiter) if row)
        widths = [len(row) for row in rows]
        common = max(set(widths), key=widths.count, default=0)
        cells = [cell for row in rows for cell in row]
        numeric = sum(parse_number(cell, decimal_comma=delimiter != ",") is not None for cell in cells)
        scores.append((widths.count(common), numeric / len(cells), common) if common > 1 else (0, 0.0, 0))
    return DELIMITERS[scores.index(max(scores))]


def read_sample(rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Take the first rows, at most SAMPLE_ROWS and about MAX_CHUNK_CELLS cells."""
    first = list(islice(rows, 1))
    return first + list(islice(rows, min(SAMPLE_ROWS - 1, count_chunk_rows(len(first[0][1]))) if first else 0))


def count_chunk_rows(columns: int) -> int:
    """Return the number of rows that have about MAX_CHUNK_CELLS cells, at least 1."""
    return max(1, MAX_CHUNK_CELLS // max(1, columns))


def read_rows(text: io.TextIOWrapper, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) for each row that is not empty. `line` is the last line of the row, from 1.

    Spaces around a cell are removed. Raises DatasetRefused.
    """
    lines = _CountedLines(text)
    with _translate_csv_errors(lines):
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            lines.row_characters = 0
            if len(cells) > MAX_COLUMNS:
                raise dataset_error(
                    f"Line {lines.read} has {len(cells):,} cells; the limit is {MAX_COLUMNS:,}. Leave out columns."
                )
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield lines.read, stripped


class _CountedLines:
    """The lines of a text.

    Attributes:
        read: number of lines read so far.
        row_characters: number of characters read since the last complete row; a quoted cell can have several lines.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.read = 0
        self.row_characters = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(MAX_ROW_CHARACTERS + 1):
            self.read += 1
            self.row_characters += len(line)
            if self.row_characters > MAX_ROW_CHARACTERS:
                raise dataset_error(
                    f"Line {self.read}: the row has more than {MAX_ROW_CHARACTERS:,} characters, the limit. "
                    "Look for a quote that is not closed, or leave out columns."
                )
            if "\0" in line:
                raise dataset_error(
                    f"Line {self.read} contains a NUL character, so the file is not text. Save it as CSV in UTF-8."
                )
            yield line


@contextmanager
def _translate_csv_errors(lines: _CountedLines | None = None) -> Iterator[None]:
    """Translate errors of decoding and of the csv module to DatasetRefused. `lines` gives the line number."""
    try:
        yield
    except UnicodeError as error:
        raise dataset_error(
            f"The file is not text in UTF-8 or UTF-16 ({error}). Save it as CSV in UTF-8; "
            "in Excel, choose the file type `CSV UTF-8`."
        ) from None
    except csv.Error as error:
        where = f"Line {lines.read}: " if lines is not None else ""
        raise dataset_error(
            f"{where}The CSV cannot be parsed ({error}). Look for a quote that is not closed."
        ) from None


def parse_number(text: str, *, decimal_comma: bool) -> float | None:
    """Parse a number; the result can be infinite or NaN. Returns None for other text.

    `1_000` is not a number, although Python's `float` accepts it. With `decimal_comma`, `2,5` is 2.5.
    """
    if "_" in text:
        return None
    try:
        return float(text.replace(",", ".") if decimal_comma and text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
