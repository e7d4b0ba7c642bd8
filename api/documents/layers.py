"""Define the documents about the weights of a layer."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from api.documents.base import Document

MAX_VALUES = 10_000
"""An array with more numbers is described, and downloaded as npz."""
BINS = 40


class WeightArray(Document):
    """An array of weights. Its statistics are null if it is empty."""

    name: str
    shape: list[int]
    dtype: str
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    edges: list[float] = Field(description="The limits of the bins of the histogram, one more than there are bins.")
    counts: list[int] = Field(description="The number of weights in each bin.")
    values: Any = Field(description="The numbers as nested lists; null for more than 10,000 numbers.")


class LayerWeights(Document):
    """The weights of a layer, in the order of `get_weights()` of Keras."""

    layer: str
    arrays: list[WeightArray]


def list_arrays(content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and the array of each weights in an npz, in the order of the layer."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        for key in sorted(archive.files, key=lambda key: int(key.split(" ", 1)[0])):
            yield key.split(" ", 1)[1], archive[key]


def describe_weights(layer: str, content: bytes) -> LayerWeights:
    """Build the document of the weights of a layer from the npz of the planner."""
    return LayerWeights(layer=layer, arrays=[_describe(name, array) for name, array in list_arrays(content)])


def _describe(name: str, array: NDArray[Any]) -> WeightArray:
    numbers = array.astype(np.float64).ravel()
    counts, edges = np.histogram(numbers, BINS) if numbers.size else (np.zeros(0, int), np.zeros(0))
    known = numbers.size > 0
    return WeightArray(
        name=name,
        shape=list(array.shape),
        dtype=str(array.dtype),
        min=float(numbers.min()) if known else None,
        max=float(numbers.max()) if known else None,
        mean=float(numbers.mean()) if known else None,
        std=float(numbers.std()) if known else None,
        edges=edges.tolist(),
        counts=counts.tolist(),
        values=array.tolist() if numbers.size <= MAX_VALUES else None,
    )
