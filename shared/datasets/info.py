"""Describe a data set without reading its rows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.datasets.cells import DecimalMark
from shared.datasets.encodings import ColumnEncoding


class TargetKind(StrEnum):
    """Kind of the labels in y, as the data set has them. A loss can need another form."""

    CLASSES = "classes"  # (n,) int64: indices into the class names
    INTEGERS = "integers"  # (n,) int64: classes or quantities; the loss decides
    ONE_HOT = "one_hot"  # (n, k) float32: a single 1 in each row
    MULTI_LABEL = "multi_label"  # (n, k) float32: any number of 1 in a row, else 0
    NUMBERS = "numbers"  # (n, k) float32


def choose_column_kind(y: NDArray[Any]) -> TargetKind:
    """Return the kind of labels with several columns, (n, k): they have classes if all of them are 0 or 1."""
    if not np.isin(y, (0, 1)).all():
        return TargetKind.NUMBERS
    return TargetKind.ONE_HOT if (y.sum(axis=1) == 1).all() else TargetKind.MULTI_LABEL


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set.

    Attributes:
        shape: shape of one row of x. Images: (height, width, channels), or (0, 0, channels) if their sizes differ.
        images: whether the rows are images.
        texts: whether the rows are texts, of the shape (). Rows that are neither are numbers.
        targets: kind of the labels.
        train_rows: number of training rows, including those of them that become validation rows.
        validation_rows: number of rows of the validation part that the data set came with, between the other parts.
        test_rows: number of test rows.
        classes: names of the classes. For integer labels: the integers that occur, or empty if they are not known. For
            labels with a column for each class: their names, or empty without names.
        target_width: number of columns of y; 1 if y has the shape (n,).
        class_rows: (training rows, test rows) of each class, or of each integer of inline data; empty if they are not
            known before the data is read.
        encodings: how the cells of each column of a table become numbers; empty if all are plain numbers.
        validation_class_rows: those rows of each class; empty without a validation part.
        weighted: whether each row has a weight in the loss.
        decimal: the decimal mark of the table.
        own_test: whether the data set came with a test part, so that results of different trainings are comparable.
    """

    shape: tuple[int, ...]
    images: bool
    targets: TargetKind
    train_rows: int
    test_rows: int
    classes: tuple[str, ...] = ()
    target_width: int = 1
    class_rows: tuple[tuple[int, int], ...] = ()
    own_test: bool = False
    encodings: tuple[ColumnEncoding, ...] = ()
    validation_rows: int = 0
    validation_class_rows: tuple[int, ...] = ()
    weighted: bool = False
    decimal: DecimalMark = "."
    texts: bool = False

    @property
    def kind(self) -> Literal["images", "numbers", "texts"]:
        """Return the kind of the rows."""
        return "images" if self.images else "texts" if self.texts else "numbers"

    @property
    def rows(self) -> int:
        """Return the number of all rows."""
        return self.train_rows + self.validation_rows + self.test_rows
