"""Select the points of a scatter plot from the columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.charts.dataset_rows import OpenDataset
from shared.datasets.info import TargetKind
from shared.errors import Fault, InvalidRequest, PictureNotFound, list_names, suggest

MAX_POINTS = 2000
"""Limit on the drawn rows. Those of a larger table are chosen at equal distances."""


@dataclass(frozen=True)
class Points:
    """The points of a scatter plot.

    Attributes:
        names: of the axes, two or three of them.
        values: (n, axes) float64.
        colors: a class index or a number for each point, (n,) float64.
        classes: the names of the classes; empty if the colours are numbers.
        total: the rows of the table.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    colors: NDArray[np.float64]
    classes: tuple[str, ...]
    total: int


def list_numeric_columns(opened: OpenDataset, columns: Sequence[str], label: str) -> dict[str, int]:
    """Return the names of the columns of numbers, each with its position in a row of `opened.x`; -1 for the label."""
    encodings = opened.info.encodings
    found: dict[str, int] = {}
    start = 0
    for place, name in enumerate(columns):
        width = encodings[place].width if encodings else 1
        if not (encodings and encodings[place].categories):
            found[name] = start
        start += width
    if _has_numeric_label(opened):
        found[label] = -1
    return found


def select_points(opened: OpenDataset, columns: Sequence[str], label: str, axes: Sequence[str | None]) -> Points:
    """Select the points of the columns that `axes` names: x, y and z. None for x and y chooses columns.

    Raises InvalidRequest for an unknown column, PictureNotFound if there are fewer than two columns of numbers.
    """
    if opened.info.kind != "numbers" or len(opened.info.shape) != 1:
        raise PictureNotFound("A scatter plot needs a table, and these rows are images or have more dimensions.")
    known = list_numeric_columns(opened, columns, label)
    for axis, name in zip("xyz", axes, strict=True):
        if name is not None and name not in known:
            listed = list_names(list(known))
            detail = f"There is no column of numbers {name[:60]!r}.{suggest(name, known)} They are {listed}."
            raise InvalidRequest("The request is invalid.", (Fault(f"#/{axis}", detail, "query"),))
    rest = (name for name in known if name not in axes)
    names = [name or next(rest, None) for name in axes[:2]] + [name for name in axes[2:] if name is not None]
    chosen = tuple(name for name in names if name is not None)
    if len(chosen) < 2:  # noqa: PLR2004 - a plane
        raise PictureNotFound("A scatter plot needs two columns of numbers.")
    rows = np.linspace(0, len(opened.y) - 1, min(len(opened.y), MAX_POINTS)).astype(np.int64)
    x = opened.read_rows(rows)
    labels, classes = _color(opened, rows)
    values = np.stack([labels if known[name] < 0 else x[:, known[name]] for name in chosen], axis=1)
    return Points(chosen, values.astype(np.float64), labels, classes, len(opened.y))


def _has_numeric_label(opened: OpenDataset) -> bool:
    return opened.info.targets in (TargetKind.NUMBERS, TargetKind.INTEGERS)


def _color(opened: OpenDataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the class index or the number of each row, (n,), and the names of the classes."""
    y: NDArray[Any] = opened.y[rows]
    if opened.info.targets in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL):
        y = y.argmax(axis=1)
    numbers = np.asarray(y, np.float64).reshape(len(rows), -1)[:, 0]
    return numbers, () if _has_numeric_label(opened) else opened.info.classes
