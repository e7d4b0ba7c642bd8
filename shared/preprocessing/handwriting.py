"""Handwriting, laid out as MNIST has it: yann.lecun.com/exdb/mnist, "centered in a 28x28 image by center of mass"."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.preprocessing.pixels import Pixels

BOX_SHARE = 20 / 28
"""Of the image's sides: what the ink fills at the most."""
MIN_STROKE_SHARE = 0.2
"""Of the way from the ground's mean level to the ink's: the soft edges of a stroke still belong to it."""


def is_dark_on_light(image: Pixels) -> bool:
    """(height, width, channels): whether the border is nearer to the brightest than to the darkest there is."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return float(np.median(border)) > (float(image.min()) + float(image.max())) / 2


def center_by_mass(image: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    """(height, width, 1), light on dark → (*size, 1): the ink alone, scaled to the box, its mass in the middle."""
    ink = _extract_strokes(image[..., 0])
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    canvas = np.zeros((*size, 1), np.uint8)
    if not len(rows):
        return canvas
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(side * BOX_SHARE / length for side, length in zip(size, cropped.shape, strict=True))
    height, width = (max(1, round(length * scale)) for length in cropped.shape)
    digit = cv2.resize(cropped, (width, height), interpolation=interpolation)
    top, left = (
        min(max(0, round(side / 2 - centre)), side - length)
        for side, length, centre in zip(size, digit.shape, _compute_center_of_mass(digit), strict=True)
    )
    canvas[top : top + height, left : left + width, 0] = digit
    return canvas


def _extract_strokes(gray: Pixels) -> Pixels:
    """The levels of the ink, and 0 for the ground."""
    otsu, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    is_ink = gray > otsu
    if not is_ink.any() or is_ink.all():
        return np.zeros_like(gray)
    ground, ink = float(gray[~is_ink].mean()), float(gray[is_ink].mean())
    return np.where(gray > ground + MIN_STROKE_SHARE * (ink - ground), gray, 0).astype(np.uint8)


def _compute_center_of_mass(digit: NDArray[Any]) -> tuple[float, float]:
    """(row, column) of it, counted to the middle of a pixel."""
    mass = digit.astype(np.float64)
    rows, columns = (np.arange(length) + 0.5 for length in digit.shape)
    total = mass.sum() or 1.0
    return float(mass.sum(axis=1) @ rows / total), float(mass.sum(axis=0) @ columns / total)
