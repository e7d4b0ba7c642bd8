"""Parse the headers of PNG and JPEG, the formats of nearly all images.

Pillow reads the other formats and unusual headers. It is not used for all images because it touches so much memory
that the network which runs next takes 50 % longer.
"""

import struct
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_WITH_ALPHA = (0, 4), (4, 6)
_PNG_COLORS = (0, 2, 3, 4, 6)
_JPEG = b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_COMPONENTS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The properties of an encoded image. `format` is Pillow's name; `width` and `height` are those before rotation."""

    format: str
    transparent: bool
    gray: bool
    width: int
    height: int


def parse_header(data: bytes) -> ImageHeader | None:
    """Parse the header of a PNG or JPEG. Returns None for another format or an unusual header."""
    try:
        if data.startswith(_PNG):
            return _parse_png(data)
        if data.startswith(_JPEG):
            return _parse_jpeg(data)
    except (struct.error, IndexError):  # the header is incomplete
        return None
    return None


def _parse_png(data: bytes) -> ImageHeader | None:
    """Parse chunks up to the pixels. A chunk is a length, a name, the data, a checksum: https://www.w3.org/TR/png-3/"""
    length, name, width, height, _, color = struct.unpack_from(">I4sIIBB", data, 8)
    if (length, name) != (13, b"IHDR") or not width or not height or color not in _PNG_COLORS:
        return None
    transparent = color in _PNG_WITH_ALPHA
    index = 33
    while name != b"IDAT":
        length, name = struct.unpack_from(">I4s", data, index)
        transparent = transparent or name == b"tRNS"
        index += 12 + length
    return ImageHeader("PNG", transparent, color in _PNG_GRAY, width, height)


def _parse_jpeg(data: bytes) -> ImageHeader | None:
    """Parse segments up to the frame: ITU-T T.81, B.1.

    A segment begins with 0xff, a code, and a length that includes its own two bytes.
    """
    index = 2
    while True:
        if data[index] != 0xFF:  # noqa: PLR2004 - the first byte of a marker
            return None
        code = data[index + 1]
        if code in _JPEG_FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, index + 5)
            if not width or not height or components not in _JPEG_COMPONENTS:
                return None
            return ImageHeader("JPEG", transparent=False, gray=components == 1, width=width, height=height)
        if code == _JPEG_SCAN or code < 0xC0:  # noqa: PLR2004 - not a marker of a header
            return None
        (length,) = struct.unpack_from(">H", data, index + 2)
        index += 2 + max(length, 2)
