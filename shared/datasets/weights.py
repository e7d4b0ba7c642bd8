"""Check the weights of rows in the loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS_FILE = "weights.npy"
MAX_WEIGHT = 1e6


def find_weight_fault(weights: NDArray[Any]) -> str | None:
    """Return what is wrong with the weights of rows, (n,); None if nothing is."""
    bad = np.flatnonzero(~((weights >= 0) & (weights <= MAX_WEIGHT)))
    if len(bad):
        return (
            f"row {bad[0] + 1} (from 1) has the weight {weights[bad[0]]:g}. Weights must be 0 to {MAX_WEIGHT:,.0f}. "
            f"Number of such rows: {len(bad):,}. Correct or remove them."
        )
    if not weights.any():
        return "all weights are 0, so that nothing is learned. Give at least one row a weight."
    return None
