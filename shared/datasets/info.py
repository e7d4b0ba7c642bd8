"""What is known of a data set without reading it."""

from dataclasses import dataclass
from enum import StrEnum


class TargetKind(StrEnum):
    """What `y` holds, before a loss says what it wants."""

    CLASSES = "classes"  # (n,) int64: places in the list of class names
    INTEGERS = "integers"  # (n,) int64: classes or quantities, as the loss decides
    ONE_HOT = "one_hot"  # (n, k) float32: a single 1 in each row
    NUMBERS = "numbers"  # (n, k) float32


@dataclass(frozen=True)
class DatasetInfo:
    """`shape` is that of one row of x, (height, width, channels) for images, (0, 0, channels) where each has a size of
    its own; `target_width` is k, or 1. `classes` are names, or the whole numbers that occur where they are known.

    `class_rows` has the training and the test rows of each class, where they are known before the data are read;
    `own_test` says that the test part came with the data, so that every result on it can be compared.
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
