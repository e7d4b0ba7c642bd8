"""Walk the structure of PNG and JPEG, the formats of nearly all images.

Every length is compared with the bytes that are there, before a decoder allocates what a length claims. Pillow reads
the other formats and unusual headers. It is not used for all images because it touches so much memory that the network
which runs next takes 50 % longer.
"""

import re
import struct
from dataclasses import dataclass, field

from shared.errors import InvalidImage
from shared.preprocessing.pixels import WHITE

MAX_PLAIN_PIXELS = 4_000_000
"""The most pixels of an image that is plainly safe."""
MAX_PNG_CHUNKS = 4_000
MIN_CHUNK_BYTES = 4096
"""A PNG has at most MAX_PNG_CHUNKS chunks, and one more for each MIN_CHUNK_BYTES: libpng writes 8 KiB in each."""
MAX_JPEG_SEGMENTS = 2_000
"""The most segments before the first scan of a JPEG. A colour profile takes up to 255."""
MAX_SCANS = 100
"""The most scans of a JPEG. A progressive JPEG has about 10."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""The most pixels of a JPEG, times its scans: each scan passes over all pixels, even if it is empty."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_WITH_ALPHA = (0, 4), (4, 6)
_PNG_DEPTHS = (1, 2, 4, 8, 16)
_PNG_COLORS = (0, 2, 3, 4, 6)
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_PNG_CHUNK_BYTES = 12
"""The bytes of a chunk without its data: length, name and checksum."""
_PNG_CHUNK = struct.Struct(">I4s")
_JPEG = b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEQUENTIAL = (0xC0, 0xC1)
_JPEG_SCAN = 0xDA
_JPEG_FILL = 0xFF
_JPEG_COMPONENTS = (1, 3, 4)
_JPEG_SCAN_MARKER = re.compile(rb"\xff\xda")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The properties of an encoded image.

    Attributes:
        format: Pillow's name of the format.
        width: width before rotation.
        height: height before rotation.
        animated: whether it is a PNG with chunks of an animation; only `parse_header` tells.
        sequential: whether it is a PNG, or a JPEG with one scan, whose structure `parse_header` has walked. Such a JPEG
            is never in memory at full size if it is decoded at a reduced size.
        transparent_level: the gray level that a gray PNG declares transparent, as it is decoded; None for others.
    """

    format: str
    transparent: bool
    gray: bool
    width: int
    height: int
    animated: bool = field(default=False, compare=False)
    sequential: bool = field(default=False, compare=False)
    transparent_level: int | None = field(default=None, compare=False)

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def is_plainly_safe(self) -> bool:
        """Return whether decoding it takes little memory and time, whatever its bytes are."""
        return self.sequential and self.pixels <= MAX_PLAIN_PIXELS


def parse_header(data: bytes) -> ImageHeader | None:
    """Parse the structure of a PNG or JPEG. Returns None for another format or an unusual header.

    Raises InvalidImage for a chunk or a segment that is longer than the rest of the file, and for too many of them.
    """
    try:
        if data.startswith(_PNG):
            return _parse_png(data)
        if data.startswith(_JPEG):
            return _parse_jpeg(data)
    except (struct.error, IndexError):  # the header is incomplete
        return None
    return None


def _parse_png(data: bytes) -> ImageHeader | None:
    """Parse all chunks. A chunk is a length, a name, the data, a checksum: https://www.w3.org/TR/png-3/"""
    length, name, width, height, depth, color = struct.unpack_from(">I4sIIBB", data, 8)
    if (length, name) != (13, b"IHDR") or not width or not height or color not in _PNG_COLORS:
        return None
    transparent, has_pixels, animated, level = color in _PNG_WITH_ALPHA, False, False, None
    index, size, chunks = 33, len(data), 0
    max_chunks = MAX_PNG_CHUNKS + size // MIN_CHUNK_BYTES
    while name != b"IEND" and index < size and chunks <= max_chunks:
        chunks += 1
        length, name = _PNG_CHUNK.unpack_from(data, index)
        if length > size - index - _PNG_CHUNK_BYTES:
            raise InvalidImage(
                f"a PNG image that is damaged or cut off: the chunk {name.decode('ascii', 'replace')!r} claims "
                f"{length:,} bytes, and {max(0, size - index - _PNG_CHUNK_BYTES):,} are left"
            )
        transparent = transparent or name == b"tRNS"
        if name == b"tRNS" and color == 0 and depth in _PNG_DEPTHS:
            (sample,) = struct.unpack_from(">H", data, index + 8)
            level = sample * (WHITE // (2**depth - 1)) if depth < 8 else sample  # noqa: PLR2004 - decoded to 8 bits
        has_pixels = has_pixels or name == b"IDAT"
        animated = animated or name in _PNG_ANIMATION
        index += _PNG_CHUNK_BYTES + length
    if chunks > max_chunks:
        raise InvalidImage(f"a PNG image of more than {max_chunks:,} chunks, the limit; save it again")
    if not has_pixels:
        return None
    is_gray = color in _PNG_GRAY
    return ImageHeader("PNG", transparent, is_gray, width, height, animated, sequential=True, transparent_level=level)


def remove_animation(png: bytes) -> bytes:
    """Remove the chunks of an animation from a PNG that `parse_header` accepts; its first image is left.

    OpenCV 5.0 crashes on some damaged animations.
    """
    kept, index = [png[: len(_PNG)]], len(_PNG)
    while index + _PNG_CHUNK_BYTES <= len(png):
        length, name = _PNG_CHUNK.unpack_from(png, index)
        end = index + _PNG_CHUNK_BYTES + length
        if name not in _PNG_ANIMATION:
            kept.append(png[index:end])
        index = end
    return b"".join(kept)


def _parse_jpeg(data: bytes) -> ImageHeader | None:
    """Parse the segments up to the first scan: ITU-T T.81, B.1. A segment is a marker, a length, and the content."""
    frame, index = None, 2
    for _ in range(MAX_JPEG_SEGMENTS):
        code, index, length = _parse_segment(data, index)
        if code == _JPEG_SCAN:
            break
        if code in _JPEG_FRAMES:
            if frame is not None:
                raise InvalidImage("a JPEG image with more than one frame header")
            frame, (height, width, components) = code, struct.unpack_from(">HHB", data, index + 3)
        index += length
    else:
        raise InvalidImage(f"a JPEG image of more than {MAX_JPEG_SEGMENTS:,} segments, the limit; save it again")
    if frame is None or not width or not height or components not in _JPEG_COMPONENTS:
        return None
    has_one_scan = frame in _JPEG_SEQUENTIAL and data[index + 2] == components
    if not has_one_scan:
        _check_scans(data, width * height)
    return ImageHeader("JPEG", False, components == 1, width, height, sequential=has_one_scan)  # noqa: FBT003


def _parse_segment(data: bytes, index: int) -> tuple[int, int, int]:
    """Return the code of a segment, the index of its length, and the length, which includes its own two bytes.

    A marker begins with 0xff, which can be repeated. Raises InvalidImage for a segment that is longer than the rest of
    the file, and IndexError for anything else than a segment.
    """
    if data[index] != _JPEG_FILL:
        raise IndexError(index)
    while (code := data[index + 1]) == _JPEG_FILL:
        index += 1
    if code < 0xC0 or 0xD0 <= code <= 0xD9:  # noqa: PLR2004 - a marker without a length
        raise IndexError(index)
    (length,) = struct.unpack_from(">H", data, index + 2)
    left = len(data) - index - 2
    if length > left:
        raise InvalidImage(
            f"a JPEG image that is damaged or cut off: a segment claims {length:,} bytes, and {left:,} are left"
        )
    return code, index + 2, max(length, 2)


def _check_scans(data: bytes, pixels: int) -> None:
    scans, limit = sum(1 for _ in _JPEG_SCAN_MARKER.finditer(data)), min(MAX_SCANS, MAX_SCANNED_PIXELS // pixels)
    if scans > limit:
        raise InvalidImage(
            f"a JPEG image of {scans:,} scans; the limit for {pixels:,} pixels is {limit}. Save it as a baseline JPEG"
        )
