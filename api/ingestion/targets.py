"""Determine whether the labels of a data set are classes, integers, one-hot rows or numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import dataset_error
from shared.datasets.info import TargetKind
from shared.datasets.labels import encode_labels, find_class_name_faults

MAX_CLASSES = 10_000


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
        indices = self.y
        if self.kind is TargetKind.INTEGERS:
            indices = np.searchsorted(np.asarray([int(name) for name in self.classes]), self.y)
        train, test = (np.bincount(part, minlength=len(self.classes)) for part in np.split(indices, [train_rows]))
        return tuple(zip(train.tolist(), test.tolist(), strict=True))


def encode_class_names(labels: Sequence[str]) -> Targets:
    """Convert class names to class indices.

    The classes are sorted by number if all names are integers, otherwise by Unicode code point.
    Raises DatasetRefused for a name that is too long.
    """
    names, indices = encode_labels(labels)
    if faults := find_class_name_faults(names):
        raise dataset_error(*faults)
    if all(_is_integer(name) for name in names):
        order = np.argsort([int(name) for name in names], kind="stable")
        names, indices = tuple(names[index] for index in order), np.argsort(order)[indices]
    return Targets(TargetKind.CLASSES, indices, names)


def infer_numeric_targets(y: NDArray[Any], task: Task | None) -> Targets:
    """Determine the kind of numeric labels.

    Args:
        y: finite labels, (n,) or (n, k).
        task: meaning of integers. None: they become TargetKind.INTEGERS, and the loss of a spec decides.
    """
    y = y.reshape(len(y), -1)
    if y.shape[1] > 1:
        one_hot = bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
        return Targets(TargetKind.ONE_HOT if one_hot else TargetKind.NUMBERS, y.astype(np.float32))
    whole = bool(np.array_equal(y, np.round(y)) and np.abs(y).max(initial=0) < 2**31)
    if task is Task.REGRESSION or not whole:
        return Targets(TargetKind.NUMBERS, y.astype(np.float32))
    numbers = y[:, 0].astype(np.int64)
    values = np.unique(numbers)
    if task is Task.CLASSIFICATION:
        return encode_class_names([str(number) for number in numbers.tolist()])
    names = tuple(str(value) for value in values) if len(values) <= MAX_CLASSES else ()
    return Targets(TargetKind.INTEGERS, numbers, names)


def _is_integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()
