"""A CSV file as a data set of numbers: delimiter and header told apart by themselves, every fault by its row."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import MAX_FAULTS, ParsedDataset, TableOptions, dataset_error
from api.ingestion.targets import MAX_CLASSES, Targets, Task, encode_class_names, infer_numeric_targets
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import DatasetRefused, Fault

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 100
SAMPLE_CHARACTERS = 2**20
CHUNK_ROWS = 4096
MISSING_VALUES = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})
MAX_FLOAT32 = float(np.finfo(np.float32).max)
MIN_COLUMNS = 2


@dataclass
class _Faults:
    """What is wrong with the rows, by kind: the first of each, and how many."""

    rows: list[str] = field(default_factory=list)
    more: int = 0
    missing: dict[str, list[int]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        if len(self.rows) < MAX_FAULTS:
            self.rows.append(text)
        else:
            self.more += 1

    def check(self) -> None:
        texts = [*self.rows, *(_format_missing(column, rows) for column, rows in self.missing.items())]
        if texts:
            raise dataset_error(texts, self.more)


@dataclass(frozen=True)
class _Layout:
    """Which cells of a row are what."""

    names: tuple[str, ...]
    features: tuple[int, ...]
    label: int
    has_header: bool


def ingest_csv(stream: IO[bytes], options: TableOptions, folder: Path) -> ParsedDataset:
    """Writes x.npy (n, columns) float32 and y.npy. Raises DatasetRefused with the rows at fault."""
    text = decode_text(stream)
    delimiter = detect_delimiter(text)
    rows = read_rows(text, delimiter)
    sample = list(islice(rows, SAMPLE_ROWS))
    if not sample:
        raise dataset_error(["The file holds no rows."])
    layout = _detect_layout(sample, options)
    x, labels = _read_columns(chain(sample[layout.has_header :], rows), layout, decimal_comma=delimiter != ",")
    targets = _build_targets(labels, options, layout.names[layout.label], decimal_comma=delimiter != ",")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", targets.y)
    info = DatasetInfo(
        (len(layout.features),),
        images=False,
        targets=targets.kind,
        train_rows=len(x),
        test_rows=0,
        classes=targets.classes,
        class_rows=targets.count_class_rows(len(x)),
    )
    return ParsedDataset(
        info,
        (folder / "x.npy", folder / "y.npy"),
        columns=tuple(layout.names[index] for index in layout.features),
        label=layout.names[layout.label],
    )


def decode_text(stream: IO[bytes]) -> io.TextIOWrapper:
    mark = stream.read(4)
    stream.seek(0)
    encoding = "utf-16" if mark[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def detect_delimiter(text: io.TextIOWrapper) -> str:
    """The one by which most rows of the sample have the same number of cells, and most cells are numbers."""
    with _translate_csv_errors():
        sample = text.read(SAMPLE_CHARACTERS)
        text.seek(0)
    lines = sample.splitlines(keepends=True)[:SAMPLE_ROWS]
    scores = []
    for delimiter in DELIMITERS:
        with _translate_csv_errors():
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        widths = [len(row) for row in rows]
        common = max(set(widths), key=widths.count, default=0)
        cells = [cell for row in rows for cell in row]
        numeric = sum(parse_number(cell, decimal_comma=delimiter != ",") is not None for cell in cells)
        scores.append((widths.count(common), numeric / len(cells), common) if common > 1 else (0, 0.0, 0))
    return DELIMITERS[scores.index(max(scores))]


def read_rows(text: io.TextIOWrapper, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row that is not blank; lines count from 1."""
    lines = _CountedLines(text)
    with _translate_csv_errors(lines):
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield lines.read, stripped


class _CountedLines:
    """Lines, and how many of them were read."""

    def __init__(self, text: Iterable[str]) -> None:
        self._lines = iter(text)
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.read += 1
            if "\0" in line:
                raise dataset_error([f"Line {self.read}: a NUL, which no text holds: is this a CSV?"])
            yield line


@contextmanager
def _translate_csv_errors(lines: _CountedLines | None = None) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise dataset_error([f"The file is not UTF-8 text ({error}): save it as CSV in UTF-8."]) from None
    except csv.Error as error:
        where = f"Line {lines.read}: " if lines is not None else ""
        raise dataset_error([f"{where}{error}; look for a quote that is not closed."]) from None


def _detect_layout(sample: Sequence[tuple[int, list[str]]], options: TableOptions) -> _Layout:
    first = sample[0][1]
    if len(first) < MIN_COLUMNS:
        raise dataset_error(
            ["The first row has a single cell: numbers and a label are needed, divided by commas, ; | or tabs."]
        )
    names_first = options.header if options.header is not None else has_header(sample, options)
    names = tuple(first) if names_first else tuple(f"column {index}" for index in range(len(first)))
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise dataset_error(
            [f"Two columns are named {name!r}: each needs a name of its own." for name in twice[:MAX_FAULTS]]
        )
    label = (
        len(names) - 1 if options.label is None else _find_column(options.label, names, "label", has_header=names_first)
    )
    out = {_find_column(text, names, "leave_out", has_header=names_first) for text in options.leave_out}
    features = tuple(index for index in range(len(names)) if index != label and index not in out)
    if label in out:
        raise DatasetRefused(
            "The label column cannot be left out.", (Fault("#/leave_out", f"{names[label]!r} is the label."),)
        )
    if not features:
        raise dataset_error(["There is no column beside the label: nothing to learn from."])
    return _Layout(names, features, label, names_first)


def has_header(sample: Sequence[tuple[int, list[str]]], options: TableOptions) -> bool:
    """Whether the first row has a word above a column of numbers, or is named by what was asked for."""
    first, rest = sample[0][1], [cells for _, cells in sample[1:]]
    if any(_parse_position(text) is None for text in (options.label, *options.leave_out) if text is not None):
        return True
    if not rest:
        return all(parse_number(cell, decimal_comma=True) is None for cell in first)
    for index, cell in enumerate(first):
        below = [cells[index] for cells in rest if index < len(cells) and cells[index].lower() not in MISSING_VALUES]
        numeric = sum(parse_number(text, decimal_comma=True) is not None for text in below)
        is_word = cell.lower() not in MISSING_VALUES and parse_number(cell, decimal_comma=True) is None
        if is_word and below and numeric > len(below) / 2:
            return True
    return False


def _parse_position(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 7 else None  # noqa: PLR2004 - a place


def _find_column(text: str, names: tuple[str, ...], key: str, *, has_header: bool) -> int:
    """By name, or by position from 0, where -1 is the last."""
    if has_header and text in names:
        return names.index(text)
    position = _parse_position(text)
    if position is not None and -len(names) <= position < len(names):
        return position % len(names)
    there = f"; there are {', '.join(repr(name) for name in names)}" if has_header else ""
    detail = f"There is no column {text!r}{there}, at positions 0 to {len(names) - 1}."
    raise DatasetRefused("A column is not there.", (Fault(f"#/{key}", detail),))


def _read_columns(
    rows: Iterable[tuple[int, list[str]]], layout: _Layout, *, decimal_comma: bool
) -> tuple[NDArray[np.float32], list[str]]:
    faults = _Faults()
    width = len(layout.names)
    chunks: list[NDArray[np.float32]] = []
    labels: list[str] = []
    known: dict[str, str] = {}
    number = 0
    iterator = iter(rows)
    while batch := list(islice(iterator, CHUNK_ROWS)):
        whole = []
        for line, cells in batch:
            number += 1
            if len(cells) != width:
                faults.add(f"Row {number} (line {line}) has {len(cells)} cells, where {width} are in the first.")
                continue
            whole.append((number, line, cells))
            label = cells[layout.label]
            if label.lower() in MISSING_VALUES:
                faults.missing.setdefault(layout.names[layout.label], []).append(number)
            labels.append(known.setdefault(label, label))
        chunks.append(_parse_numbers(whole, layout, faults, decimal_comma=decimal_comma))
    faults.check()
    if not labels:
        raise dataset_error(["The file holds a header and no rows."])
    return np.concatenate(chunks), labels


def _parse_numbers(
    rows: Sequence[tuple[int, int, list[str]]], layout: _Layout, faults: _Faults, *, decimal_comma: bool
) -> NDArray[np.float32]:
    x = np.zeros((len(rows), len(layout.features)), np.float64)
    for index, column_index in enumerate(layout.features):
        cells = [cells[column_index] for _, _, cells in rows]
        try:
            x[:, index] = np.asarray(cells, np.float64)
        except ValueError:
            x[:, index] = _parse_cells(
                rows, column_index, layout.names[column_index], faults, decimal_comma=decimal_comma
            )
        for row in np.flatnonzero(~(np.abs(x[:, index]) <= MAX_FLOAT32)).tolist():
            text = rows[row][2][column_index]
            if text.lower() in MISSING_VALUES:
                faults.missing.setdefault(layout.names[column_index], []).append(rows[row][0])
            else:
                faults.add(
                    _format_fault(rows[row], layout.names[column_index], f"{text[:40]!r} is not a finite 32-bit number")
                )
            x[row, index] = 0
    return x.astype(np.float32)


def _parse_cells(
    rows: Sequence[tuple[int, int, list[str]]], index: int, name: str, faults: _Faults, *, decimal_comma: bool
) -> list[float]:
    """A missing value as NaN, which is looked for afterwards."""
    values = []
    for row in rows:
        text = row[2][index]
        value = math.nan if text.lower() in MISSING_VALUES else parse_number(text, decimal_comma=decimal_comma)
        if value is None:
            what = f"{text[:40]!r} is not a number: leave the column out, or write numbers"
            faults.add(_format_fault(row, name, what))
            value = 0.0
        values.append(value)
    return values


def _build_targets(labels: list[str], options: TableOptions, name: str, *, decimal_comma: bool) -> Targets:
    task = Task(options.task) if options.task is not None else None
    numbers = [parse_number(label, decimal_comma=decimal_comma) for label in labels]
    texts = [row for row, number in enumerate(numbers, 1) if number is None]
    if not texts:
        y = np.asarray(numbers, np.float64)
        outside = np.flatnonzero(~(np.abs(y) <= MAX_FLOAT32))
        if len(outside):
            row = int(outside[0])
            raise dataset_error([f"Row {row + 1}, column {name!r}: {labels[row]!r} is not a finite 32-bit number."])
        targets = infer_numeric_targets(y, task)
        if targets.kind is TargetKind.NUMBERS and task is Task.CLASSIFICATION:
            targets = encode_class_names(labels)
    elif task is Task.REGRESSION or (task is None and len(texts) < len(labels) / 2):
        shown = [f"Row {row}, column {name!r}: {labels[row - 1][:40]!r} is not a number." for row in texts[:MAX_FAULTS]]
        raise dataset_error(shown, max(0, len(texts) - MAX_FAULTS))
    else:
        targets = encode_class_names(labels)
    if targets.kind is TargetKind.CLASSES and not MIN_COLUMNS <= len(targets.classes) <= MAX_CLASSES:
        raise dataset_error(
            [f"The label column {name!r} holds {len(targets.classes):,} classes: 2 to {MAX_CLASSES:,} are needed."]
        )
    return targets


def parse_number(text: str, *, decimal_comma: bool) -> float | None:
    """None for what is no number. Python would also take `1_000`."""
    if "_" in text:
        return None
    try:
        return float(text.replace(",", ".") if decimal_comma and text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None


def _format_fault(row: tuple[int, int, list[str]], column: str, what: str) -> str:
    return f"Row {row[0]} (line {row[1]}), column {column!r}: {what}."


def _format_missing(column: str, rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:MAX_FAULTS])
    more = f" and {len(rows) - MAX_FAULTS} more" if len(rows) > MAX_FAULTS else ""
    values = "value is" if len(rows) == 1 else "values are"
    return (
        f"Column {column!r}: {len(rows)} {values} missing, in row {shown}{more}: fill them in, or leave out "
        "the rows or the column."
    )
