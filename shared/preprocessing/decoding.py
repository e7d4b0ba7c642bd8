"""Decode images under limits."""

import io
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageTooLarge, InvalidImage
from shared.preprocessing.contract import Decoding, ImageContract
from shared.preprocessing.image_header import ImageHeader, parse_header
from shared.preprocessing.pixels import WHITE, Pixels

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
}
GRAY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})
"""As Pillow names them."""
MIN_REDUCED_PIXELS = 200_000
"""Of a JPEG, below which decoding it smaller saves too little to be worth any difference."""
MIN_SIDE_FACTOR = 3
# These flags are the bits for the size alone: those named after colours ask for BGR.
_REDUCED_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# Our own limit is checked before anything is decoded; Pillow's would only add a warning.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_bytes: int
    max_pixels: int


def decode_image(data: bytes, limits: ImageLimits, contract: ImageContract | None = None) -> Pixels:
    """An encoded image as (height, width, 3) RGB, upright, its transparent pixels over the contract's background.

    Whole, and over black, without a contract. Raises InvalidImage for bytes that are no whole image, ImageTooLarge for
    one over the limits.
    """
    return decode_with_header(data, read_header(data, limits), contract)


def decode_with_header(data: bytes, header: ImageHeader, contract: ImageContract | None = None) -> Pixels:
    """The same, of bytes whose header was looked at. Raises InvalidImage."""
    reduced = _REDUCED_FLAGS[choose_reduction(header, contract)]
    flags = cv2.IMREAD_UNCHANGED if header.transparent else cv2.IMREAD_COLOR_RGB | reduced
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InvalidImage(f"a {header.format} image that cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(f"a {header.format} image that is damaged or cut off")
    if header.transparent:
        background = contract.background if contract is not None else (0,)
        return _blend_over_background(image, background, premultiplied=header.format == "TIFF")
    return image.astype(np.uint8, copy=False)


def choose_reduction(header: ImageHeader, contract: ImageContract | None) -> int:
    """1, 2, 4 or 8: by as much is a JPEG decoded smaller, so that three times the wanted side is left at the least."""
    if contract is None or contract.decoding is Decoding.WHOLE or header.format != "JPEG":
        return 1
    if header.width * header.height < MIN_REDUCED_PIXELS:
        return 1
    enough = MIN_SIDE_FACTOR * max(contract.size)
    return next((factor for factor in (8, 4, 2) if min(header.width, header.height) >= factor * enough), 1)


def read_header(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Decodes nothing, so that a decompression bomb is refused unopened."""
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"an image of {len(data):,} bytes, where {limits.max_bytes:,} are the limit")
    if not data:
        raise InvalidImage("empty: there are no bytes to decode")
    header = parse_header(data) or _read_header_with_pillow(data)
    if header.width * header.height > limits.max_pixels:
        raise ImageTooLarge(
            f"an image of {header.width:,} × {header.height:,} pixels, where {limits.max_pixels:,} in all are the limit"
        )
    return header


def _read_header_with_pillow(data: bytes) -> ImageHeader:
    try:
        with Image.open(io.BytesIO(data), formats=list(MEDIA_TYPES)) as image:
            width, height = image.size
            return ImageHeader(str(image.format), image.has_transparency_data, image.mode in GRAY_MODES, width, height)
    except (OSError, SyntaxError, ValueError, OverflowError, TypeError, KeyError, IndexError, struct.error) as error:
        raise InvalidImage(f"not an image that can be read; {', '.join(MEDIA_TYPES)} are") from error


def _blend_over_background(image: NDArray[Any], background: tuple[int, ...], *, premultiplied: bool) -> Pixels:
    """BGRA → RGB. OpenCV hands out the colours of a TIFF multiplied by their alpha already."""
    if image.ndim == 2:  # noqa: PLR2004 - a gray level declared transparent, which OpenCV does not look at
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
    levels = image.astype(np.float32) * (WHITE / np.iinfo(image.dtype).max)
    color, alpha = levels[..., 2::-1], levels[..., 3:] / WHITE
    behind = np.asarray(background, np.float32) * (1 - alpha)
    return np.round((color if premultiplied else color * alpha) + behind).clip(0, WHITE).astype(np.uint8)
