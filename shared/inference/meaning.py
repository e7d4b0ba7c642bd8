"""Decide what the numbers of an image are: pixels, which the contract prepares, or the input of the network."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Meaning(StrEnum):
    """What the numbers of an image are.

    `pixels` are whole numbers from 0 to 255, in the colour of the contract, which resizes and normalises them.
    `network` are the network's input as it stands.
    """

    PIXELS = "pixels"
    NETWORK = "network"


def find_meaning(images: Sequence[NDArray[Any]], input_shape: tuple[int, ...]) -> Meaning:
    """Decide what the numbers of all images of a request are.

    They are pixels if their type is uint8, or if all are whole numbers and one exceeds 1. Whole numbers up to 1 are
    the network's input if they have its shape, else pixels. All other numbers are the network's input.
    """
    if all(image.dtype == np.uint8 for image in images):
        return Meaning.PIXELS
    largest = max((image.max(initial=0) for image in images), default=0)
    if largest <= 1 and all(image.shape == input_shape for image in images):
        return Meaning.NETWORK
    return Meaning.PIXELS if all(map(_is_whole, images)) else Meaning.NETWORK


def _is_whole(numbers: NDArray[Any]) -> bool:
    return numbers.dtype.kind in "biu" or bool((numbers == np.rint(numbers)).all())
