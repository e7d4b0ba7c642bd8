"""Read the rows of a CSV file: its encoding, its delimiter and its cells."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, cast

from api.ingestion.result import dataset_error
from api.ingestion.text_encoding import ENCODINGS, check_encoding, guess_encoding
from shared.datasets.cells import POINT, DecimalMark, FormatEvidence, NumberFormat, is_number
from shared.datasets.columns import MAX_COLUMNS

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 100
"""Number of rows from which the delimiter and the header are detected."""
SAMPLE_CHARACTERS = 2**20
MAX_CHUNK_CELLS = 500_000
"""The most cells that are in memory as text at a time, except those of a single row."""
MAX_ROW_CHARACTERS = 2**23
"""The most characters of a row. A file without line breaks would otherwise be read into memory as a whole."""
_EXCEL_MARK = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

Line = tuple[int, list[str]]
"""(number of the line in the file, from 1; cells) of a row."""

csv.field_size_limit(MAX_ROW_CHARACTERS)  # by default, a cell has at most 131,072 characters


@dataclass(frozen=True)
class TableText:
    """The text of a CSV.

    Attributes:
        encoding: the encoding, as Python names it.
        is_guessed: whether the encoding was guessed.
        delimiter: the character between the cells.
        skipped: number of lines before the table: 1 for `sep=;`, which Excel writes and reads.
    """

    stream: IO[bytes]
    encoding: str
    is_guessed: bool
    delimiter: str
    skipped: int = 0

    @property
    def warnings(self) -> list[str]:
        """Return warnings for the sender."""
        if not self.is_guessed:
            return []
        return [f"The text was read as {self.encoding}, which was guessed. If it is wrong, send `encoding`."]

    def read_rows(self, *, keeps_empty: bool = False) -> Iterator[Line]:
        """Yield each row that is not empty, from the beginning of the file. The line of a row is its last one.

        With `keeps_empty`, rows of empty cells are yielded too, such as `""`; blank lines never are. Spaces around a
        cell are removed. Raises DatasetRefused.
        """
        lines = _CountedLines(_open_text(self.stream, self.encoding))
        with _translate_csv_errors(self.encoding, lines):
            for cells in csv.reader(islice(lines, self.skipped, None), delimiter=self.delimiter, strict=True):
                lines.row_characters = 0
                if len(cells) > MAX_COLUMNS:
                    raise dataset_error(
                        f"Line {lines.read} has {len(cells):,} cells; the limit is {MAX_COLUMNS:,}. Leave out columns."
                    )
                stripped = [cell.strip() for cell in cells]
                if any(stripped) or (keeps_empty and stripped):
                    yield lines.read, stripped

    def detect_number_format(
        self, names: Sequence[str], known: NumberFormat | None = None
    ) -> tuple[NumberFormat, list[str]]:
        """Tell how the numbers of the file are written, and return warnings for the sender.

        Args:
            names: the names of the columns.
            known: the format if `15,000` can be both thousands and a fraction; None to decide by the other numbers.

        Raises DatasetRefused if it cannot be decided.
        """
        if not self._can_contain_marks():
            return POINT, []
        evidence = FormatEvidence()
        for _, cells in self.read_rows():
            for column, cell in enumerate(cells):
                if "," in cell or "." in cell or cell.isdecimal():
                    evidence.add(column, cell)
            if evidence.certain is not None:
                return evidence.certain, []
        if known is not None:
            return known, []
        return self._judge(evidence, names)

    def _judge(self, evidence: FormatEvidence, names: Sequence[str]) -> tuple[NumberFormat, list[str]]:
        """Decide between thousands and fractions if every number with a mark has three digits after it."""
        commas, points = evidence.grouped[","], evidence.grouped["."]
        if self.delimiter == "," or not (commas or points):
            return NumberFormat(has_thousands=bool(commas)), []
        mark: DecimalMark = "," if commas else "."
        found = commas or points
        beside_small, beside_large = found.keys() & evidence.small, found.keys() & evidence.large
        if mark == "," and self.delimiter != ";" and beside_small and not beside_large:
            return NumberFormat(has_thousands=True), []
        column, cell = next(iter(found.items()))
        shown = f"Column {names[column]!r}"
        is_fraction = mark == "." or beside_large or (self.delimiter == ";" and not beside_small)
        if (commas and points) or not is_fraction:
            raise dataset_error(
                f"{shown}: {cell!r} can be thousands or a fraction. Write the numbers without a mark between "
                "thousands, and with a decimal point."
            )
        value = float(cell.replace(mark, "."))
        return NumberFormat(mark), [
            f"{shown}: {cell!r} was read as {value:g}. If the mark separates thousands, remove it."
        ]

    def _can_contain_marks(self) -> bool:
        """Return whether a cell can contain a comma, or points that are not decimal points. Raises DatasetRefused."""
        text = _open_text(self.stream, self.encoding)
        mark = '"' if self.delimiter == "," else ","
        marks = (mark, ".") if self.delimiter != "," else (mark,)
        with _translate_csv_errors(self.encoding):
            return any(any(mark in part for mark in marks) for part in iter(lambda: text.read(SAMPLE_CHARACTERS), ""))


def open_table(stream: IO[bytes], encoding: str | None) -> TableText:
    """Determine encoding and delimiter of a CSV.

    `encoding` is that which the sender states; None for UTF-16 if the file begins with its byte order mark, else UTF-8
    if it is, else a guess. Raises DatasetRefused if it is unknown or cannot be guessed, or for a file that is not text.
    """
    stated = check_encoding(encoding)
    found = stated or _find_encoding(stream)
    with _translate_csv_errors(found):
        sample = _open_text(stream, found).read(SAMPLE_CHARACTERS)
    is_guessed = stated is None and not found.startswith("utf")
    first, _, _ = sample.partition("\n")
    if (mark := _EXCEL_MARK.fullmatch(first.rstrip("\r").lstrip("\ufeff"))) is not None:
        return TableText(stream, found, is_guessed, mark[1], skipped=1)
    return TableText(stream, found, is_guessed, _detect_delimiter(sample))


def read_sample(rows: Iterator[Line]) -> list[Line]:
    """Take the first rows, at most SAMPLE_ROWS and about MAX_CHUNK_CELLS cells."""
    first = list(islice(rows, 1))
    return first + list(islice(rows, min(SAMPLE_ROWS - 1, count_chunk_rows(len(first[0][1]))) if first else 0))


def count_chunk_rows(columns: int) -> int:
    """Return the number of rows that have about MAX_CHUNK_CELLS cells, at least 1."""
    return max(1, MAX_CHUNK_CELLS // max(1, columns))


def _open_text(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Open the file as text from its beginning. Line breaks are unchanged, as the csv module requires."""
    stream.seek(0)
    return io.TextIOWrapper(cast(IO[bytes], _SharedStream(stream)), encoding=encoding, newline="")


class _SharedStream(io.RawIOBase):
    """A stream that stays open when its text is no longer used, so that it can be read again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        """Read as TextIOWrapper does."""
        return self._stream.read(size)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _find_encoding(stream: IO[bytes]) -> str:
    """Return the encoding of the file. Raises DatasetRefused if it cannot be told."""
    stream.seek(0)
    start = stream.read(2)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    stream.seek(0)
    try:
        for piece in iter(lambda: stream.read(SAMPLE_CHARACTERS), b""):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        stream.seek(0)
        sample = stream.read(SAMPLE_CHARACTERS)
        guessed = guess_encoding(sample[: sample.rfind(b"\n") + 1] or sample) if b"\0" not in sample else None
        if guessed is None:
            raise dataset_error(
                f"The file is not text in UTF-8 or UTF-16 ({error.reason}), and its encoding cannot be told. Save it "
                f"as CSV in UTF-8 (in Excel: `CSV UTF-8`), or send the field `encoding`: {ENCODINGS}."
            ) from None
        return guessed
    return "utf-8-sig"


def _detect_delimiter(sample: str) -> str:
    """Return the delimiter that gives the largest number of sample rows the same number of cells.

    Of equal delimiters, the one with the larger share of numbers among the cells is chosen, then the one with more
    columns, then the first of DELIMITERS.
    """
    lines = sample.splitlines(keepends=True)[:SAMPLE_ROWS]
    scores = []
    for delimiter in DELIMITERS:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # `read_rows` reports it
            rows.extend(row for row in csv.reader(lines, delimiter=delimiter) if row)
        widths = [len(row) for row in rows]
        common = max(set(widths), key=widths.count, default=0)
        cells = [cell for row in rows for cell in row]
        numeric = sum((is_number(cell) if delimiter != "," else POINT.parse(cell) is not None) for cell in cells)
        scores.append((widths.count(common), numeric / len(cells), common) if common > 1 else (0, 0.0, 0))
    return DELIMITERS[scores.index(max(scores))]


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
def _translate_csv_errors(encoding: str, lines: _CountedLines | None = None) -> Iterator[None]:
    """Translate errors of decoding and of the csv module to DatasetRefused. `lines` gives the line number."""
    try:
        yield
    except UnicodeError as error:
        raise dataset_error(
            f"The file is not text in {encoding} ({error}). Save it as CSV in UTF-8 (in Excel: `CSV UTF-8`), or send "
            f"the field `encoding`: {ENCODINGS}."
        ) from None
    except csv.Error as error:
        where = f"Line {lines.read}: " if lines is not None else ""
        raise dataset_error(
            f"{where}The CSV cannot be parsed ({error}). Look for a quote that is not closed."
        ) from None
