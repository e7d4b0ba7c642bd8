"""Choose the epochs that a curve of many epochs is drawn from."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np


def choose_points(values: Mapping[str, Sequence[float | None]], length: int, limit: int) -> list[int]:
    """Return the positions, in order, of at most `limit` points of curves that share one axis.

    The axis is cut into intervals of equal length, and of each interval the smallest and the largest value of every
    curve are kept, so that no peak is lost. The first and the last point are always kept.

    Args:
        values: the curves by name, each `length` long; None for values that are not finite.
        limit: at least 2. With less than two points for each curve, curves share the points of an interval.
    """
    if length <= limit:
        return list(range(length))
    curves = np.array([[np.nan if value is None else value for value in curve] for curve in values.values()], float)
    intervals = max(1, (limit - 2) // max(2 * len(curves), 1))
    chosen = {0, length - 1}
    edges = np.linspace(0, length, intervals + 1).astype(int)
    for start, end in pairwise(edges):
        for curve in curves:
            known = np.flatnonzero(~np.isnan(curve[start:end]))
            if len(known):
                part = curve[start:end][known]
                chosen |= {int(start + known[part.argmin()]), int(start + known[part.argmax()])}
    return sorted(chosen) if len(chosen) <= limit else [*sorted(chosen)[: limit - 1], length - 1]
