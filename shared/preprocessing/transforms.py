"""Transform decoded images to the contract's colour, polarity and size."""

from typing import NamedTuple

import cv2
import numpy as np

from shared.preprocessing.contract import ImageContract
from shared.preprocessing.handwriting import center_by_mass, is_dark_on_light
from shared.preprocessing.pixels import GRAY_CHANNELS, WHITE, Pixels
from shared.spec.preprocessing import Color, Fit, Interpolation, Invert

_INTERPOLATIONS = {
    Interpolation.NEAREST: cv2.INTER_NEAREST,
    Interpolation.LINEAR: cv2.INTER_LINEAR,
    Interpolation.CUBIC: cv2.INTER_CUBIC,
    Interpolation.AREA: cv2.INTER_AREA,
    Interpolation.LANCZOS: cv2.INTER_LANCZOS4,
}


class TransformedImage(NamedTuple):
    """A transformed image: `pixels` (*contract.size, channels) uint8, and whether dark and light were swapped."""

    pixels: Pixels
    inverted: bool


def transform_image(image: Pixels, contract: ImageContract) -> TransformedImage:
    """Convert the colour of an image (height, width, 1 or 3), invert it and resize it, as the contract specifies."""
    image = _convert_color(image, contract.color)
    inverted = is_dark_on_light(image) if contract.invert is Invert.AUTO else contract.invert is Invert.ALWAYS
    return TransformedImage(_resize_to_fit(WHITE - image if inverted else image, contract), inverted)


def transform_images(images: Pixels, contract: ImageContract) -> Pixels:
    """Transform (n, height, width, 1 or 3) to (n, *contract.size, channels) uint8.

    Returns `images` itself if the contract changes nothing.
    """
    if contract.is_identity_for(images.shape[1:]):
        return images
    transformed = np.empty((len(images), *contract.input_shape), np.uint8)
    for index, image in enumerate(images):
        transformed[index] = transform_image(image, contract).pixels
    return transformed


def _convert_color(image: Pixels, color: Color) -> Pixels:
    is_gray = image.shape[-1] == GRAY_CHANNELS
    if is_gray == (color is Color.GRAYSCALE):
        return image
    if is_gray:
        return np.repeat(image, 3, axis=-1)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., np.newaxis].astype(np.uint8, copy=False)


def _resize_to_fit(image: Pixels, contract: ImageContract) -> Pixels:
    if contract.fit is Fit.MNIST:
        return center_by_mass(image, contract.size, _INTERPOLATIONS[contract.interpolation])
    if image.shape[:2] == contract.size:
        return image
    if contract.fit is Fit.STRETCH:
        return _resize(image, contract.size, contract.interpolation)
    height, width = contract.size
    ratios = height / image.shape[0], width / image.shape[1]
    if contract.fit is Fit.CROP:
        kept = [
            min(side, round(wanted / max(ratios))) for side, wanted in zip(image.shape, contract.size, strict=False)
        ]
        return _resize(_crop_center(image, max(1, kept[0]), max(1, kept[1])), contract.size, contract.interpolation)
    inner = max(1, round(image.shape[0] * min(ratios))), max(1, round(image.shape[1] * min(ratios)))
    canvas = np.full(contract.input_shape, contract.background, np.uint8)
    _crop_center(canvas, *inner)[...] = _resize(image, inner, contract.interpolation)
    return canvas


def _crop_center(image: Pixels, height: int, width: int) -> Pixels:
    """Return a view of the central pixels, (height, width, channels)."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _resize(image: Pixels, size: tuple[int, int], interpolation: Interpolation) -> Pixels:
    height, width = size
    resized = cv2.resize(image, (width, height), interpolation=_INTERPOLATIONS[interpolation])
    return resized.reshape(height, width, image.shape[-1]).astype(np.uint8, copy=False)  # OpenCV drops a single channel
