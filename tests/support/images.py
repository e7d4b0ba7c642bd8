"""Encode test images with Pillow; the service decodes them with OpenCV."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encoded(pixels: NDArray[Any] | Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.squeeze(pixels))
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def photo(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Return a uint8 image (height, width, 3) of smooth colours that differ in every corner."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = rows * 255, columns * 255, (1 - rows) * columns * 255
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG whose header claims this size but that contains the data of one pixel."""
    small = bytearray(encoded(np.zeros((1, 1, 3), np.uint8)))
    small[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    return bytes(small)
