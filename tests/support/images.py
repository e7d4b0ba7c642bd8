"""Encode test images with Pillow; the service decodes them with OpenCV."""

import io
import struct
import zlib
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

    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    return bytes(small)


def make_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def find_frame(jpeg: bytes, marker: bytes = b"\xff\xc0") -> tuple[int, int]:
    """Return where the frame header of a JPEG begins and ends."""
    start = jpeg.index(marker)
    return start, start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")


def hide_frame(jpeg: bytes, width: int, height: int) -> bytes:
    """Put the frame header of a JPEG, with these sides, behind a fill byte, and a frame of 16 × 16 into a comment.

    A reader that takes the fill byte for a marker jumps to the frame in the comment.
    """
    start, end = find_frame(jpeg)
    frame = bytearray(jpeg[start:end])
    struct.pack_into(">HH", frame, 5, height, width)
    head = b"\xff\xd8\xff" + bytes(frame)
    decoy = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 16, 16, 1) + b"\x01\x11\x00"
    padding = 4 + int.from_bytes(head[4:6], "big") - len(head) - 4
    comment = b"\0" * padding + decoy
    return head + b"\xff\xef" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:start] + jpeg[end:]
