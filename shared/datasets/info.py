"""Describe a data set without reading its rows."""

from dataclasses import dataclass
from enum import StrEnum


class TargetKind(StrEnum):
    """Kind of the labels in y, as the data set has them. A loss can need another form."""

    CLASSES = "classes"  # (n,) int64: indices into the class names
    INTEGERS = "integers"  # (n,) int64: classes or quantities; the loss decides
    ONE_HOT = "one_hot"  # (n, k) float32: a single 1 in each row
    NUMBERS = "numbers"  # (n, k) float32


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set.

    Attributes:
        shape: shape of one row of x. Images: (height, width, channels), or (0, 0, channels) if their sizes differ.
        images: whether the rows are images; otherwise they are numbers.
        targets: kind of the labels.
        train_rows: number of training rows, including the rows that become validation rows.
        test_rows: number of test rows.
        classes: names of the classes. For integer labels: the integers that occur, or empty if they are not known.
        target_width: number of columns of y; 1 if y has the shape (n,).
        class_rows: (training rows, test rows) of each class; empty if they are not known before the data is read.
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
