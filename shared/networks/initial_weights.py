"""Read the weights of `network.initial_weights`, which a network begins with instead of random ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.inline import read_numbers
from shared.errors import Fault, InvalidRequest
from shared.networks.layer_row import WeightShape

POINTER = "#/network/initial_weights"
MAX_NUMBERS = 10_000
"""Limit on the numbers in a spec: they are stored with every version."""


def read_initial_weights(arrays: Sequence[Any], expected: Sequence[WeightShape]) -> list[NDArray[np.float32]]:
    """Return the arrays (lists of numbers) as float32, in the order of `Model.get_weights()`.

    `expected` are the weights of the network in the same order. Raises InvalidRequest if their number or their shapes
    differ, or for more than MAX_NUMBERS numbers.
    """
    needed = sum(int(np.prod(weight.shape)) for weight in expected)
    if needed > MAX_NUMBERS:
        raise _build_error(
            POINTER, f"The network has {needed:,} weights; the limit for weights in a spec is {MAX_NUMBERS:,}."
        )
    if len(arrays) != len(expected):
        listed = ", ".join(f"{weight.name} {_format(weight.shape)}" for weight in expected) or "none"
        raise _build_error(
            POINTER,
            f"There are {len(arrays)} arrays, and the network has {len(expected)}: {listed}. "
            "Give one for each, in this order.",
        )
    read = []
    for index, (given, weight) in enumerate(zip(arrays, expected, strict=True)):
        pointer = f"{POINTER}/{index}"
        numbers = read_numbers(given, pointer)
        if numbers.shape != weight.shape:
            raise _build_error(
                pointer, f"The shape is {_format(numbers.shape)}, and {weight.name} needs {_format(weight.shape)}."
            )
        read.append(numbers.astype(np.float32))
    return read


def _format(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The initial weights do not fit the network.", (Fault(pointer, detail),))
