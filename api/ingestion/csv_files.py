"""Parse a CSV file into a data set of numbers, and detect the roles of its columns."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from api.ingestion.csv_reader import (
    MISSING_VALUES,
    count_chunk_rows,
    decode_text,
    detect_delimiter,
    parse_number,
    read_rows,
    read_sample,
)
from api.ingestion.result import MAX_FAULTS, ParsedDataset, TableOptions, UploadLimits, dataset_error
from api.ingestion.row_writer import RowWriter
from api.ingestion.targets import ClassNames, Targets, Task, infer_numeric_targets
from shared.datasets.columns import find_positions
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import DatasetRefused, Fault

MAX_FLOAT32 = float(np.finfo(np.float32).max)
MIN_COLUMNS = 2
MAX_SHOWN_COLUMNS = 50
"""The most names of columns in a message."""


@dataclass
class _Faults:
    """Faults that were found in the rows.

    Attributes:
        rows: a sentence for each of the first MAX_FAULTS faults of a row or a cell.
        more: number of such faults beyond these.
        missing: the number of missing values by column, and the numbers of the first MAX_FAULTS rows (from 1).
    """

    rows: list[str] = field(default_factory=list)
    more: int = 0
    missing: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        if len(self.rows) < MAX_FAULTS:
            self.rows.append(text)
        else:
            self.more += 1

    def add_missing(self, column: str, row: int) -> None:
        number, rows = self.missing.get(column, (0, []))
        self.missing[column] = number + 1, [*rows, row] if number < MAX_FAULTS else rows

    def check(self) -> None:
        """Check that no fault was found. Raises DatasetRefused."""
        texts = [*self.rows, *(_format_missing(column, *missing) for column, missing in self.missing.items())]
        if texts:
            raise dataset_error(*texts, more=self.more)


class _Labels:
    """The labels of all rows, as numbers and as class names, whichever they are.

    Attributes:
        numbers: the labels as numbers, NaN for texts.
        names: the labels as class names.
        texts: number of labels that are no numbers.
        first_texts: the first MAX_FAULTS of them, with the numbers of their rows (from 1).
        outside: the first number that is not finite or not a 32-bit number, with its row; None without one.
    """

    def __init__(self, *, decimal_comma: bool) -> None:
        self.numbers = array("d")
        self.names = ClassNames()
        self.texts = 0
        self.first_texts: list[tuple[int, str]] = []
        self.outside: tuple[int, str] | None = None
        self._decimal_comma = decimal_comma

    def add(self, label: str) -> None:
        """Add the label of the next row."""
        number = parse_number(label, decimal_comma=self._decimal_comma)
        self.numbers.append(math.nan if number is None else number)
        self.names.add(label)
        if number is None:
            self.texts += 1
            if len(self.first_texts) < MAX_FAULTS:
                self.first_texts.append((len(self.numbers), label))
        elif self.outside is None and not abs(number) <= MAX_FLOAT32:
            self.outside = len(self.numbers), label


@dataclass(frozen=True)
class _Layout:
    """Roles of the columns.

    Attributes:
        names: name of each column, from the header or `column 0`, `column 1`, …
        features: indices of the input columns.
        label: index of the label column.
        has_header: whether the first row contains the names.
    """

    names: tuple[str, ...]
    features: tuple[int, ...]
    label: int
    has_header: bool


def ingest_csv(stream: IO[bytes], options: TableOptions, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Parse a CSV file, and write x.npy, (n, columns) float32, and y.npy, the y of `Targets`, to the folder.

    All rows are training rows. Raises DatasetRefused with the rows at fault.
    """
    text = decode_text(stream)
    delimiter = detect_delimiter(text)
    rows = read_rows(text, delimiter)
    sample = read_sample(rows)
    if not sample:
        raise dataset_error("The file contains no rows: all cells are empty. Send a CSV with numbers and labels.")
    layout = _detect_layout(sample, options)
    labels = _Labels(decimal_comma=delimiter != ",")
    with RowWriter(folder / "x.npy", (len(layout.features),), np.dtype(np.float32), limits) as writer:
        _read_columns(chain(sample[layout.has_header :], rows), layout, labels, writer, decimal_comma=delimiter != ",")
    targets = _build_targets(labels, options, layout.names[layout.label])
    np.save(folder / "y.npy", targets.y)
    info = DatasetInfo(
        (len(layout.features),),
        images=False,
        targets=targets.kind,
        train_rows=writer.rows,
        test_rows=0,
        classes=targets.classes,
        class_rows=targets.count_class_rows(writer.rows),
    )
    return ParsedDataset(
        info,
        (folder / "x.npy", folder / "y.npy"),
        columns=tuple(layout.names[index] for index in layout.features),
        label=layout.names[layout.label],
    )


def _detect_layout(sample: Sequence[tuple[int, list[str]]], options: TableOptions) -> _Layout:
    """Determine the names and the roles of the columns. Raises DatasetRefused."""
    first = sample[0][1]
    if len(first) < MIN_COLUMNS:
        raise dataset_error(
            "The first row has a single cell. Each row needs at least one number and a label, separated by "
            "commas, semicolons, tabs or vertical bars (|)."
        )
    has_names = options.header if options.header is not None else has_header(sample, options)
    names = tuple(first) if has_names else tuple(f"column {index}" for index in range(len(first)))
    duplicates = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if duplicates:
        raise dataset_error(
            *[f"More than one column is named {name!r}. Rename all but one." for name in duplicates[:MAX_FAULTS]]
        )
    positions = find_positions(names) if has_names else {}
    label = len(names) - 1 if options.label is None else _find_column(options.label, names, positions, "label")
    out = {_find_column(text, names, positions, "leave_out") for text in options.leave_out}
    features = tuple(index for index in range(len(names)) if index != label and index not in out)
    if label in out:
        raise DatasetRefused(
            "The label column cannot be left out.",
            (Fault("#/leave_out", f"{names[label]!r} is the label column. Choose another column as `label`."),),
        )
    if not features:
        raise dataset_error(
            "Only the label column remains. At least one input column is needed: leave out fewer columns."
        )
    return _Layout(names, features, label, has_names)


def has_header(sample: Sequence[tuple[int, list[str]]], options: TableOptions) -> bool:
    """Return whether the first row contains the names of the columns.

    It does if the options name a column, or if it has a word in a column whose other sample values are mostly numbers.
    A single row contains the names if none of its cells is a number.
    """
    first = sample[0][1]
    rest = [cells for _, cells in sample[1:]]
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
    """Parse the position of a column, such as `2` or `-1`. Returns None for other text."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 7 else None  # noqa: PLR2004 - digits


def _find_column(text: str, names: tuple[str, ...], positions: Mapping[str, int], key: str) -> int:
    """Return the index of a column, given its name or else its position: from 0, or -1 for the last one.

    `positions` are the positions of the names, empty without a header. Raises DatasetRefused, with a pointer to the
    option `key`.
    """
    if text in positions:
        return positions[text]
    position = _parse_position(text)
    if position is not None and -len(names) <= position < len(names):
        return position % len(names)
    shown = f"{', '.join(map(repr, names[:MAX_SHOWN_COLUMNS]))}{', …' if len(names) > MAX_SHOWN_COLUMNS else ''}"
    there = f" The columns are {shown}." if positions else ""
    detail = f"There is no column {text!r}.{there} The positions are 0 to {len(names) - 1}; -1 is the last column."
    raise DatasetRefused("The column does not exist.", (Fault(f"#/{key}", detail),))


def _read_columns(
    rows: Iterable[tuple[int, list[str]]], layout: _Layout, labels: _Labels, writer: RowWriter, *, decimal_comma: bool
) -> None:
    """Parse all rows. Writes the features, and adds the labels. Raises DatasetRefused."""
    faults = _Faults()
    width = len(layout.names)
    number = 0
    iterator = iter(rows)
    while batch := list(islice(iterator, count_chunk_rows(width))):
        whole = []
        for line, cells in batch:
            number += 1
            if len(cells) != width:
                faults.add(
                    f"Row {number} (line {line}) has {len(cells)} cells; the first row has {width}. "
                    "Each row needs the same number of cells."
                )
                continue
            whole.append((number, line, cells))
            label = cells[layout.label]
            if label.lower() in MISSING_VALUES:
                faults.add_missing(layout.names[layout.label], number)
            labels.add(label)
        writer.write(_parse_numbers(whole, layout, faults, decimal_comma=decimal_comma))
    faults.check()
    if not writer.rows:
        raise dataset_error("The file contains a header and no rows. Add rows below the header.")


def _parse_numbers(
    rows: Sequence[tuple[int, int, list[str]]], layout: _Layout, faults: _Faults, *, decimal_comma: bool
) -> NDArray[np.float32]:
    """Parse the input columns, (rows, features). Adds each bad cell to `faults` and returns 0 for it."""
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
                faults.add_missing(layout.names[column_index], rows[row][0])
            else:
                faults.add(
                    _format_fault(
                        rows[row],
                        layout.names[column_index],
                        f"{text[:40]!r} is not a finite 32-bit number (limit ±3.4e38); correct it or remove the row",
                    )
                )
            x[row, index] = 0
    return x.astype(np.float32)


def _parse_cells(
    rows: Sequence[tuple[int, int, list[str]]], index: int, name: str, faults: _Faults, *, decimal_comma: bool
) -> list[float]:
    """Parse the cells of one column that NumPy cannot parse. Returns NaN for missing values, which the caller reports.

    Adds every other cell that is not a number to `faults`, and returns 0 for it.
    """
    values = []
    for row in rows:
        text = row[2][index]
        value = math.nan if text.lower() in MISSING_VALUES else parse_number(text, decimal_comma=decimal_comma)
        if value is None:
            reason = f"{text[:40]!r} is not a number; write a number, or leave the column out (`leave_out`)"
            faults.add(_format_fault(row, name, reason))
            value = 0.0
        values.append(value)
    return values


def _build_targets(labels: _Labels, options: TableOptions, name: str) -> Targets:
    """Convert the labels to targets. Raises DatasetRefused.

    Labels are numbers if all of them are. Otherwise they are class names; without a task, at least half of them must
    be text, because a few texts among numbers are more likely errors.
    """
    task = Task(options.task) if options.task is not None else None
    if not labels.texts:
        if labels.outside is not None:
            row, text = labels.outside
            raise dataset_error(
                f"Row {row}, column {name!r}: {text!r} is not a finite 32-bit number (the limit is ±3.4e38). Correct "
                "the label or remove the row."
            )
        targets = infer_numeric_targets(np.frombuffer(labels.numbers, np.float64), task)
        if targets.kind is not TargetKind.NUMBERS or task is not Task.CLASSIFICATION:
            return targets
    elif task is Task.REGRESSION or (task is None and labels.texts < len(labels.numbers) / 2):
        shown = [
            f"Row {row}, column {name!r}: {text[:40]!r} is not a number. Correct the label, or send `task` as "
            "`classification` if the labels are class names."
            for row, text in labels.first_texts
        ]
        raise dataset_error(*shown, more=labels.texts - len(shown))
    return labels.names.encode(f"the label column {name!r}")


def _format_fault(row: tuple[int, int, list[str]], column: str, reason: str) -> str:
    return f"Row {row[0]} (line {row[1]}), column {column!r}: {reason}."


def _format_missing(column: str, number: int, rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows)
    more = f" and {number - len(rows)} more" if number > len(rows) else ""
    values = "value is missing, in row" if number == 1 else "values are missing, in rows"
    return (
        f"Column {column!r}: {number} {values} {shown}{more}. Fill in the cells, remove the rows, or leave out the "
        "column (`leave_out`). Empty cells and ?, NA, N/A, NaN, null, none and - count as missing."
    )
