"""Whether two ways to compute a network's answers give the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4
"""Absolute for values below 1, as probabilities are, and relative to the value above."""


def compute_max_difference(answers: NDArray[Any], expected: NDArray[Any]) -> float:
    """Infinite where either is not a number, so that it never passes for agreement."""
    difference = np.abs(answers - expected) / np.maximum(1, np.abs(expected))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))
