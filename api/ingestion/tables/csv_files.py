"""Parse a CSV file into a data set of numbers, and detect the roles of its columns."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import (
    LABEL_NAMES,
    MAX_FAULTS,
    ColumnOptions,
    ParsedDataset,
    TableOptions,
    UploadLimits,
    dataset_error,
)
from api.ingestion.row_writer import RowWriter
from api.ingestion.tables.columns import (
    ColumnReader,
    NumberedRow,
    RowFaults,
    finish_columns,
    make_readers,
)
from api.ingestion.tables.csv_reader import Line, count_chunk_rows, open_table, read_sample
from api.ingestion.targets import ClassNames, Targets, Task, infer_numeric_targets
from shared.datasets.cells import MAX_FLOAT32, MISSING_VALUES, NumberFormat, is_header, is_number
from shared.datasets.columns import find_positions
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.weights import WEIGHTS_FILE, find_weight_fault
from shared.errors import DatasetRefused, Fault

MIN_COLUMNS = 2
MAX_SHOWN_COLUMNS = 50
"""The most names of columns in a message."""
MIN_COUNTED_ROWS, MIN_NAMELESS_ROWS = 5, 2
"""A column counts the rows if all numbers rise by 1, from so many rows on: with a name, and without one."""
ROW_NAMES = frozenset({"", "unnamed: 0"})
"""Names of a column of row numbers, in lower case, as R and pandas write them."""


class Table(Protocol):
    """A table whose cells are text."""

    @property
    def warnings(self) -> list[str]:
        """Return warnings for the sender."""

    def read_rows(self) -> Iterator[Line]:
        """Yield each row, from the beginning. Raises DatasetRefused."""

    def detect_number_format(self, names: Sequence[str]) -> tuple[NumberFormat, list[str]]:
        """Tell how numbers are written, and return warnings. Raises DatasetRefused."""


class _Labels:
    """The labels of all rows, as numbers and as class names, whichever they are.

    Attributes:
        numbers: the labels as numbers, NaN for texts.
        names: the labels as class names.
        texts: number of labels that are no numbers.
        first_texts: the first MAX_FAULTS of them, with the numbers of their rows (from 1).
        outside: the first number that is not finite or not a 32-bit number, with its row; None without one.
    """

    def __init__(self, number_format: NumberFormat) -> None:
        self.numbers = array("d")
        self.names = ClassNames()
        self.texts = 0
        self.first_texts: list[tuple[int, str]] = []
        self.outside: tuple[int, str] | None = None
        self._format = number_format

    @property
    def is_constant(self) -> bool:
        """Return whether two rows or more have only one label."""
        return len(self.numbers) > 1 and self.names.is_single

    def add(self, label: str) -> None:
        """Add the label of the next row."""
        number = self._format.parse(label)
        self.numbers.append(math.nan if number is None else number)
        self.names.add(label)
        if number is None:
            self.texts += 1
            if len(self.first_texts) < MAX_FAULTS:
                self.first_texts.append((len(self.numbers), label))
        elif self.outside is None and not abs(number) <= MAX_FLOAT32:
            self.outside = len(self.numbers), label


class _Weights:
    """The weights of all rows, from one column."""

    def __init__(self, index: int, name: str, number_format: NumberFormat) -> None:
        self._reader = ColumnReader(index, name, (), None, number_format, is_input=False)
        self._parts: list[NDArray[np.float32]] = []

    def add(self, rows: Sequence[NumberedRow], faults: RowFaults) -> None:
        """Add the weights of rows. Bad cells are added to `faults`."""
        self._parts.append(self._reader.read(rows, faults)[:, 0].astype(np.float32))

    def join(self) -> NDArray[np.float32]:
        """Return all weights, (n,). Raises DatasetRefused for a weight that is negative or too large."""
        weights = np.concatenate(self._parts)
        if fault := find_weight_fault(weights):
            raise dataset_error(f"Column {self._reader.name!r}: {fault}")
        return weights


@dataclass(frozen=True)
class _Layout:
    """Roles of the columns.

    Attributes:
        names: name of each column, from the header or `column 0`, `column 1`, …
        features: indices of the input columns.
        label: index of the label column.
        weight: index of the column with the weight of each row; None without one.
        has_header: whether the first row contains the names.
        options: the options of columns, by index.
        warnings: what the sender may not have meant.
    """

    names: tuple[str, ...]
    features: tuple[int, ...]
    label: int
    weight: int | None
    has_header: bool
    options: Mapping[int, ColumnOptions]
    warnings: list[str]

    @property
    def other_label(self) -> str | None:
        """Return the name of another column that is probably the label; None without one."""
        if self.names[self.label].lower() in LABEL_NAMES:
            return None
        return next((self.names[index] for index in self.features if self.names[index].lower() in LABEL_NAMES), None)


def ingest_csv(stream: IO[bytes], options: TableOptions, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Parse a CSV file, and write x.npy, (n, numbers) float32, and y.npy, the y of `Targets`, to the folder.

    All rows are training rows. Raises DatasetRefused with the rows at fault.
    """
    return ingest_table(open_table(stream, options.encoding), options, limits, folder)


def ingest_table(table: Table, options: TableOptions, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Convert a table, as `ingest_csv` does."""
    sample = read_sample(table.read_rows())
    if not sample:
        raise dataset_error("The file contains no rows: all cells are empty. Send a CSV with numbers and labels.")
    layout = _detect_layout(sample, options)
    number_format, warnings = table.detect_number_format(layout.names)
    warnings += [*table.warnings, *layout.warnings]
    readers = make_readers(
        layout.features, layout.names, layout.options, number_format, islice(table.read_rows(), layout.has_header, None)
    )
    labels = _Labels(number_format)
    weights = None if layout.weight is None else _Weights(layout.weight, layout.names[layout.weight], number_format)
    shape = (sum(reader.width for reader in readers),)
    with RowWriter(folder / "x.npy", shape, np.dtype(np.float32), limits) as writer:
        _read_columns(islice(table.read_rows(), layout.has_header, None), layout, readers, labels, weights, writer)
    encodings = finish_columns(folder / "x.npy", readers)
    targets = _build_targets(labels, options, layout)
    np.save(folder / "y.npy", targets.y)
    files = [folder / "x.npy", folder / "y.npy"]
    if weights is not None:
        files.append(folder / WEIGHTS_FILE)
        np.save(files[-1], weights.join())
    if options.label is None and layout.other_label is not None:
        warnings.append(
            f"The labels are the last column, {layout.names[layout.label]!r}. A column is called "
            f"{layout.other_label!r}: if it has the labels, send `label={layout.other_label}`."
        )
    info = DatasetInfo(
        shape,
        images=False,
        targets=targets.kind,
        train_rows=writer.rows,
        test_rows=0,
        classes=targets.classes,
        class_rows=targets.count_class_rows(writer.rows),
        encodings=encodings,
        weighted=weights is not None,
        decimal=number_format.decimal,
    )
    return ParsedDataset(
        info,
        tuple(files),
        columns=tuple(layout.names[index] for index in layout.features),
        label=layout.names[layout.label],
        warnings=tuple(warnings),
    )


def _detect_layout(sample: Sequence[Line], options: TableOptions) -> _Layout:
    """Determine the names and the roles of the columns. Raises DatasetRefused."""
    rest = [cells for _, cells in sample[1:]]
    names, has_names, warnings = _choose_names(sample[0][1], rest, options)
    positions = find_positions(names) if has_names else {}
    out = {_find_column(text, names, positions, "leave_out") for text in options.leave_out}
    chosen = {_find_column(name, names, positions, "columns"): column for name, column in options.columns.items()}
    if len(chosen) < len(options.columns):
        fault = Fault("#/columns", "Two keys name one column, by name and by position. Remove one of them.")
        raise DatasetRefused("The options do not fit the columns.", (fault,))
    unnamed = _find_unnamed(names, rest) - chosen.keys() if has_names else set()
    weight = None if options.weight is None else _find_column(options.weight, names, positions, "weight")
    if weight is not None:
        out.add(weight)
    label = max(set(range(len(names))) - unnamed - {weight}, default=0)
    if options.label is not None:
        label = _find_column(options.label, names, positions, "label")
    if label == weight:
        fault = Fault("#/weight", f"{names[label]!r} is the label column. Choose another column.")
        raise DatasetRefused("The label column cannot be the weight.", (fault,))
    if label in out:
        raise DatasetRefused(
            "The label column cannot be left out.",
            (Fault("#/leave_out", f"{names[label]!r} is the label column. Choose another column as `label`."),),
        )
    for index in sorted(unnamed - out - {label}):
        what = "counts the rows or names them" if index == 0 else "is empty"
        warnings.append(f"Column {index} has no name and {what}. It was left out: name it to keep it.")
        out.add(index)
    if 0 not in out | {label} and _counts_rows([cells[0] for cells in rest if cells]):
        warnings.append(
            f"The first column, {names[0]!r}, counts the rows. If it is no input, send `leave_out={names[0]}`."
        )
    features = tuple(index for index in range(len(names)) if index not in out | {label})
    if not features:
        raise dataset_error(
            "Only the label column remains. At least one input column is needed: leave out fewer columns."
        )
    if unused := sorted(names[index] for index in chosen if index not in features):
        fault = Fault(f"#/columns/{unused[0]}", "The column is no input: it is the label or left out. Remove the key.")
        raise DatasetRefused("The options do not fit the columns.", (fault,))
    return _Layout(names, features, label, weight, has_names, chosen, warnings)


def _choose_names(
    first: list[str], rest: Sequence[list[str]], options: TableOptions
) -> tuple[tuple[str, ...], bool, list[str]]:
    """Return the names of the columns, whether the first row has them, and warnings. Raises DatasetRefused."""
    if rest and all(len(cells) == len(first) + 1 for cells in rest) and not any(map(is_number, first)):
        first = ["", *first]  # R writes no name above the names of the rows
    if len(first) < MIN_COLUMNS:
        raise dataset_error(
            "The first row has a single cell. Each row needs at least one number and a label, separated by "
            "commas, semicolons, tabs or vertical bars (|)."
        )
    has_names = has_header(first, rest, options)
    names = tuple(first) if has_names else tuple(f"column {index}" for index in range(len(first)))
    duplicates = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if duplicates:
        raise dataset_error(
            *[f"More than one column is named {name!r}. Rename all but one." for name in duplicates[:MAX_FAULTS]]
        )
    if not has_names or options.header is not None or sum(map(is_number, first)) < MIN_COLUMNS:
        return names, has_names, []
    shown = ", ".join(map(repr, first[:MIN_COLUMNS]))
    return names, True, [f"The first row, {shown}, …, was read as names. If it is data, send `header=false`."]


def _find_unnamed(names: Sequence[str], rest: Sequence[Sequence[str]]) -> set[int]:
    """Return the columns without a name that are no data: the first with row numbers or row names, or empty ones."""
    unnamed = set()
    for index, name in enumerate(names):
        cells = [row[index] for row in rest if index < len(row)]
        if name.lower() not in ROW_NAMES or not cells:
            continue
        is_rows = index == 0 and (_counts_rows(cells, MIN_NAMELESS_ROWS) or not any(map(is_number, cells)))
        if is_rows or (not name and not any(cells)):
            unnamed.add(index)
    return unnamed if len(unnamed) < len(names) else set()


def _counts_rows(cells: Sequence[str], fewest: int = MIN_COUNTED_ROWS) -> bool:
    """Return whether the cells, at least so many, are whole numbers that rise by 1."""
    if len(cells) < fewest or not all(cell.isascii() and cell.isdecimal() for cell in cells):
        return False
    return all(int(other) == int(one) + 1 for one, other in pairwise(cells))


def has_header(first: Sequence[str], rest: Sequence[Sequence[str]], options: TableOptions) -> bool:
    """Return whether the first row contains the names of the columns: as the options say, else as `is_header` tells.

    It also does if the options name a column.
    """
    if options.header is not None:
        return options.header
    named = (options.label, options.weight, *options.leave_out, *options.columns)
    return any(_parse_position(text) is None for text in named if text is not None) or is_header(first, rest)


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
    rows: Iterable[Line],
    layout: _Layout,
    readers: Sequence[ColumnReader],
    labels: _Labels,
    weights: _Weights | None,
    writer: RowWriter,
) -> None:
    """Parse all rows. Writes the features, and adds the labels and weights. Raises DatasetRefused."""
    faults = RowFaults()
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
            whole.append(NumberedRow(number, line, cells))
            label = cells[layout.label]
            if label.lower() in MISSING_VALUES:
                faults.add_missing(layout.names[layout.label], number)
            labels.add(label)
        if whole:
            if weights is not None:
                weights.add(whole, faults)
            writer.write(np.concatenate([reader.read(whole, faults) for reader in readers], axis=1))
    faults.check()
    if not writer.rows:
        raise dataset_error("The file contains a header and no rows. Add rows below the header.")


def _build_targets(labels: _Labels, options: TableOptions, layout: _Layout) -> Targets:
    """Convert the labels to targets. Raises DatasetRefused.

    Labels are numbers if all of them are. Otherwise they are class names; without a task, at least half of them must
    be text, because a few texts among numbers are more likely errors.
    """
    name, task = layout.names[layout.label], Task(options.task) if options.task is not None else None
    if labels.is_constant:
        other = layout.other_label
        hint = f"A column is called {other!r}: send `label={other}`" if other else "Choose another one with `label`"
        raise dataset_error(
            f"The label column {name!r} has the same value in all rows, so that there is nothing to learn. {hint}, by "
            "name or position from 0."
        )
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
