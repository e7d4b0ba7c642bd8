"""Parse a CSV file into a data set of numbers or of texts."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import MAX_FAULTS, ParsedDataset, TableOptions, UploadLimits, dataset_error
from api.ingestion.row_writer import RowWriter
from api.ingestion.tables.columns import ColumnReader, NumberedRow, RowFaults, finish_columns, make_readers
from api.ingestion.tables.csv_reader import Line, count_chunk_rows, open_table, read_sample
from api.ingestion.tables.layout import TableLayout, detect_layout
from api.ingestion.targets import ClassNames, Targets, Task, infer_numeric_targets
from api.ingestion.texts.text_writer import TextWriter
from shared.datasets.cells import MAX_FLOAT32, MISSING_VALUES, POINT, NumberFormat
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.texts import find_text_fault
from shared.datasets.weights import WEIGHTS_FILE, find_weight_fault


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


def ingest_csv(stream: IO[bytes], options: TableOptions, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Parse a CSV file, and write the files of the data set to the folder.

    A table of numbers has x.npy, (n, numbers) float32, and y.npy, the y of `Targets`. Texts are in texts.bin, and their
    labels in index.npz. All rows are training rows. Raises DatasetRefused with the rows at fault.
    """
    return ingest_table(open_table(stream, options.encoding), options, limits, folder)


def ingest_table(table: Table, options: TableOptions, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Convert a table, as `ingest_csv` does."""
    sample = read_sample(table.read_rows())
    if not sample:
        raise dataset_error("The file contains no rows: all cells are empty. Send a CSV with numbers and labels.")
    layout = detect_layout(sample, options)
    if layout.text is not None:
        return _ingest_texts(table, layout, layout.text, options, limits, folder)
    number_format, warnings = table.detect_number_format(layout.names)
    readers = make_readers(
        layout.features, layout.names, layout.options, number_format, islice(table.read_rows(), layout.has_header, None)
    )
    shape = (sum(reader.width for reader in readers),)
    with RowWriter(folder / "x.npy", shape, np.dtype(np.float32), limits) as writer:

        def write(rows: Sequence[NumberedRow], faults: RowFaults) -> None:
            writer.write(np.concatenate([reader.read(rows, faults) for reader in readers], axis=1))

        labels, weights = _read_columns(table, layout, number_format, write)
    encodings = finish_columns(folder / "x.npy", readers)
    targets = _build_targets(labels, options, layout)
    np.save(folder / "y.npy", targets.y)
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
    files = (folder / "x.npy", folder / "y.npy", *_write_weights(weights, folder))
    return _describe(info, files, layout, options, [*warnings, *table.warnings])


def _ingest_texts(
    table: Table, layout: TableLayout, column: int, options: TableOptions, limits: UploadLimits, folder: Path
) -> ParsedDataset:
    """Write the texts of a column to texts.bin, and their labels to index.npz. Raises DatasetRefused."""
    with TextWriter(folder, limits) as writer:

        def write(rows: Sequence[NumberedRow], faults: RowFaults) -> None:
            for row in rows:
                text = row.cells[column]
                if fault := find_text_fault(text):
                    faults.add(
                        f"Row {row.number} (line {row.line}), column {layout.names[column]!r}: the text {fault}."
                    )
                else:
                    writer.write(text)

        labels, weights = _read_columns(table, layout, POINT, write)
    targets = _build_targets(labels, options, layout)
    info = DatasetInfo(
        (),
        images=False,
        texts=True,
        targets=targets.kind,
        train_rows=writer.rows,
        test_rows=0,
        classes=targets.classes,
        class_rows=targets.count_class_rows(writer.rows),
        weighted=weights is not None,
    )
    files = (*writer.finish(y=targets.y), *_write_weights(weights, folder))
    return _describe(info, files, layout, options, table.warnings)


def _write_weights(weights: _Weights | None, folder: Path) -> tuple[Path, ...]:
    """Write the weights of the rows, and return the path of the file, if there are any. Raises DatasetRefused."""
    if weights is None:
        return ()
    path = folder / WEIGHTS_FILE
    np.save(path, weights.join())
    return (path,)


def _describe(
    info: DatasetInfo, files: tuple[Path, ...], layout: TableLayout, options: TableOptions, warnings: list[str]
) -> ParsedDataset:
    return ParsedDataset(
        info,
        files,
        columns=tuple(layout.names[index] for index in layout.features),
        label=layout.names[layout.label],
        warnings=(*warnings, *layout.warnings, *layout.list_label_warnings(options)),
    )


def _read_columns(
    table: Table,
    layout: TableLayout,
    number_format: NumberFormat,
    write: Callable[[Sequence[NumberedRow], RowFaults], None],
) -> tuple[_Labels, _Weights | None]:
    """Read all rows, and return their labels and weights. `write` writes their inputs. Raises DatasetRefused."""
    labels = _Labels(number_format)
    weights = None if layout.weight is None else _Weights(layout.weight, layout.names[layout.weight], number_format)
    faults = RowFaults()
    width = len(layout.names)
    number = 0
    iterator = islice(table.read_rows(), layout.has_header, None)
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
            write(whole, faults)
    faults.check()
    if not labels.numbers:
        raise dataset_error("The file contains a header and no rows. Add rows below the header.")
    return labels, weights


def _build_targets(labels: _Labels, options: TableOptions, layout: TableLayout) -> Targets:
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
