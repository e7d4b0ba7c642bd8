"""Compare the outputs of two implementations of a network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4
"""The largest difference allowed: absolute for expected values up to 1, such as probabilities, and relative above."""


def compute_max_difference(answers: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference, in the scale of TOLERANCE. NaN gives infinity, so that it is never accepted."""
    difference = np.abs(answers - expected) / np.maximum(1, np.abs(expected))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))
