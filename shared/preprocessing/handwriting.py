"""Crop, scale and centre handwriting as in MNIST.

Source: yann.lecun.com/exdb/mnist, "centered in a 28x28 image by center of mass".
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.preprocessing.pixels import Pixels

BOX_SHARE = 20 / 28
"""The largest share of the image's height and width that the strokes fill."""
MIN_STROKE_SHARE = 0.2
"""The lowest level of a stroke, as a share of the way from the background's mean level to the strokes' mean level.

It is low because the soft edges of a stroke belong to it.
"""


def is_dark_on_light(image: Pixels) -> bool:
    """Return whether the border of an image (height, width, channels) is nearer to its lightest than darkest level."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return float(np.median(border)) > (float(image.min()) + float(image.max())) / 2


def center_by_mass(image: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    """Crop the strokes of an image, scale them to the box and place their centre of mass in the middle.

    Args:
        image: (height, width, 1), light strokes on a dark background.
        size: height and width of the result.
        interpolation: an OpenCV flag.

    Returns:
        (*size, 1). The background is 0; all pixels are 0 if the image has no strokes.
    """
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
    """Return the levels of the strokes and 0 for the background. Otsu's threshold separates the two."""
    otsu, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    is_ink = gray > otsu
    if not is_ink.any() or is_ink.all():
        return np.zeros_like(gray)
    ground, ink = float(gray[~is_ink].mean()), float(gray[is_ink].mean())
    return np.where(gray > ground + MIN_STROKE_SHARE * (ink - ground), gray, 0).astype(np.uint8)


def _compute_center_of_mass(digit: NDArray[Any]) -> tuple[float, float]:
    """Return (row, column) of the centre of mass, where the middle of the first pixel is 0.5."""
    mass = digit.astype(np.float64)
    rows, columns = (np.arange(length) + 0.5 for length in digit.shape)
    total = mass.sum() or 1.0
    return float(mass.sum(axis=1) @ rows / total), float(mass.sum(axis=0) @ columns / total)
