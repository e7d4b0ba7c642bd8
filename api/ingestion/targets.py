"""Determine whether the labels of a data set are classes, integers, one-hot rows or numbers."""

from array import array
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import dataset_error
from shared.datasets.info import TargetKind, choose_column_kind
from shared.datasets.labels import MAX_CLASSES, find_class_name_faults

MIN_CLASSES = 2


class Task(StrEnum):
    """Meaning of integer labels: classes or quantities."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Targets:
    """Labels in the form in which a data set stores them.

    Attributes:
        kind: kind of the labels; TargetKind describes the shape and the dtype of y.
        y: the labels, (n,) or (n, k).
        classes: names of the classes, or the integers that occur. Empty for other labels and for more than MAX_CLASSES
            integers.
    """

    kind: TargetKind
    y: NDArray[Any]
    classes: tuple[str, ...] = ()

    def count_class_rows(self, train_rows: int) -> tuple[tuple[int, int], ...]:
        """Return (training rows, test rows) of each class, or () without classes.

        The first `train_rows` labels are those of the training rows.
        """
        if not self.classes:
            return ()
        if self.y.ndim > 1:
            train, test = (part.sum(axis=0).astype(int) for part in np.split(self.y, [train_rows]))
            return tuple(zip(train.tolist(), test.tolist(), strict=True))
        indices = self.y
        if self.kind is TargetKind.INTEGERS:
            indices = np.searchsorted(np.asarray([int(name) for name in self.classes]), self.y)
        train, test = (np.bincount(part, minlength=len(self.classes)) for part in np.split(indices, [train_rows]))
        return tuple(zip(train.tolist(), test.tolist(), strict=True))


class ClassNames:
    """The class names of many rows, as one integer for each row.

    More than MAX_CLASSES names are not kept, so that labels that are no classes do not fill the memory.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._rows = array("i")

    def add(self, name: str) -> None:
        """Add the class name of the next row."""
        if len(self._codes) <= MAX_CLASSES:
            self._rows.append(self._codes.setdefault(name, len(self._codes)))

    @property
    def is_single(self) -> bool:
        """Return whether all rows have the same name."""
        return len(self._codes) == 1

    def encode(self, what: str) -> Targets:
        """Convert the names to class indices. `what` names the labels in errors.

        The classes are sorted by number if all names are integers, otherwise by Unicode code point.
        Raises DatasetRefused for too few or too many names, and for names that are too long.
        """
        _check_classes(len(self._codes), what)
        if faults := find_class_name_faults(self._codes):
            raise dataset_error(*faults)
        names = sorted(self._codes)
        if all(_is_integer(name) for name in names):
            names.sort(key=int)
        indices = np.empty(len(names), np.int64)
        indices[[self._codes[name] for name in names]] = np.arange(len(names))
        return Targets(TargetKind.CLASSES, indices[np.frombuffer(self._rows, np.int32)], tuple(names))


def _check_classes(number: int, what: str) -> None:
    """Check the number of classes. Raises DatasetRefused."""
    if not MIN_CLASSES <= number <= MAX_CLASSES:
        shown = f"{number:,}" if number <= MAX_CLASSES else f"more than {MAX_CLASSES:,}"
        raise dataset_error(
            f"The number of classes in {what} is {shown}; {MIN_CLASSES} to {MAX_CLASSES:,} are allowed. Choose "
            "other labels, or send numbers for a regression."
        )


def infer_numeric_targets(y: NDArray[Any], task: Task | None) -> Targets:
    """Determine the kind of numeric labels.

    Args:
        y: finite labels, (n,) or (n, k).
        task: meaning of integers. None: they become TargetKind.INTEGERS, and the loss of a spec decides.

    Raises DatasetRefused for too few or too many classes.
    """
    y = y.reshape(len(y), -1)
    if y.shape[1] > 1:
        return Targets(choose_column_kind(y), y.astype(np.float32))
    whole = bool(np.array_equal(y, np.round(y)) and np.abs(y).max(initial=0) < 2**31)
    if task is Task.REGRESSION or not whole:
        return Targets(TargetKind.NUMBERS, y.astype(np.float32))
    numbers = y[:, 0].astype(np.int64)
    if task is Task.CLASSIFICATION:
        values, numbers = np.unique(numbers, return_inverse=True)
        _check_classes(len(values), "the label column")
        return Targets(TargetKind.CLASSES, numbers, tuple(str(value) for value in values))
    values = np.unique(numbers)
    names = tuple(str(value) for value in values) if len(values) <= MAX_CLASSES else ()
    return Targets(TargetKind.INTEGERS, numbers, names)


def _is_integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()
