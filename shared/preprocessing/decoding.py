"""Decode images within limits on bytes and pixels."""

import contextlib
import io
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.errors import ImageTooLarge, InvalidImage
from shared.preprocessing.contract import Decoding, ImageContract
from shared.preprocessing.image_formats import AS_STORED, name_other_format, parse_orientation
from shared.preprocessing.image_header import MAX_PLAIN_PIXELS, ImageHeader, parse_header, remove_animation
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
"""Pillow's names of the modes without colour."""
MIN_REDUCED_PIXELS = 200_000
"""A JPEG with fewer pixels is decoded whole: a smaller decoding saves too little time to justify different pixels."""
MIN_SIDE_FACTOR = 3
"""The shorter side of a reduced JPEG is at least this many times the larger side of the contract."""
# The GRAYSCALE flags contain only the bit for the size. The COLOR flags also contain the bit for BGR.
_REDUCED_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

MAX_REDUCTION = 8
_NO_MEMORY = -4
"""StsNoMem in opencv2/core/base.hpp."""
EXIF = cv2.IMAGE_METADATA_EXIF
FIRST_SWAPPED = 5
"""EXIF orientations from this one on swap height and width."""
TIFF_BITS = 258
"""The tag BitsPerSample of TIFF 6.0."""
MAX_BITS = 16
READ_COMPRESSIONS = frozenset(
    {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg", "group3", "group4", "tiff_ccitt"}
)
"""Pillow's names of the compressions that OpenCV reads."""
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    OverflowError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    struct.error,
)
"""Exceptions of Pillow for damaged files."""
BLENDED_PIXELS = 2**18
"""Pixels that are blended over the background at a time: as floats they take 4 MiB."""


@dataclass(frozen=True)
class ImageLimits:
    """Limits on an encoded image, checked before it is decoded."""

    max_bytes: int
    max_pixels: int


class PixelBudget:
    """The pixels that the images of one request, or of one zip, may still have.

    An image counts even if it cannot be decoded.

    Args:
        max_pixels: limit for all images together; None for no limit.
        remedy: what to do above the limit, with the name of its setting; it follows the size of the image.
    """

    def __init__(self, max_pixels: int | None, remedy: str) -> None:
        self._max_pixels = max_pixels
        self._remedy = remedy
        self._spent = 0

    def spend(self, header: ImageHeader) -> bool:
        """Count an image. Return whether all images up to this one are small enough to be decoded in this process.

        Raises ImageTooLarge above the limit.
        """
        if self._max_pixels is not None and self._spent + header.pixels > self._max_pixels:
            raise ImageTooLarge(f"with this image of {header.width:,} × {header.height:,} pixels, {self._remedy}")
        self._spent += header.pixels
        return self._spent <= MAX_PLAIN_PIXELS


def decode_image(data: bytes, limits: ImageLimits, contract: ImageContract | None = None) -> Pixels:
    """Decode an image to (height, width, 3) RGB.

    The EXIF orientation is applied. Transparent pixels are blended over the contract's background. Without a contract,
    the image is decoded whole and blended over black.

    Raises InvalidImage for bytes that are not a complete image, ImageTooLarge for an image over the limits.
    """
    return decode_with_header(data, read_header(data, limits), contract)


def decode_with_header(
    data: bytes, header: ImageHeader, contract: ImageContract | None = None, *, only_check: bool = False
) -> Pixels:
    """Decode an image whose header is already parsed, like `decode_image`.

    With `only_check`, an image without transparency is decoded to gray levels, and a JPEG at an eighth of its size. All
    its bytes are read too, in less memory.

    Raises InvalidImage, or MemoryError in a process whose memory is limited.
    """
    if only_check:
        reduction = MAX_REDUCTION if header.format == "JPEG" else 1
        flags = _REDUCED_FLAGS[reduction]
    else:
        reduction = choose_reduction(header, contract)
        flags = cv2.IMREAD_COLOR_RGB | _REDUCED_FLAGS[reduction]
    if header.animated:
        data = remove_animation(data)
    orientation = AS_STORED
    try:
        if header.transparent:
            image, orientation = _decode_with_alpha(data, header)
        else:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from error
        raise InvalidImage(f"a {header.format} image that cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(_explain_failure(data, header))
    height, width = image.shape[:2]
    promised = (-(-header.width // reduction), -(-header.height // reduction))
    if promised not in ((width, height), (height, width)):  # the EXIF orientation can swap the sides
        raise InvalidImage(
            f"a {header.format} image that is {width:,} × {height:,} pixels large, and {header.width:,} × "
            f"{header.height:,} in its header"
        )
    if header.transparent:
        background = contract.background if contract is not None else (0,)
        is_multiplied = header.format == "TIFF" and not header.gray
        return _turn(_blend_over_background(image, background, premultiplied=is_multiplied), orientation)
    return image.astype(np.uint8, copy=False)


def _decode_with_alpha(data: bytes, header: ImageHeader) -> tuple[NDArray[Any] | None, int]:
    """Decode an image with transparency to BGRA. Returns it, and the EXIF orientation that is not yet applied.

    OpenCV drops the transparency of gray images: the level that a PNG declares, and the alpha channel of a TIFF.
    """
    decoded: Any = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags=cv2.IMREAD_UNCHANGED)
    image, kinds, contents = decoded
    if image is None:
        return None, AS_STORED
    if image.ndim == 2 and header.format == "TIFF":  # noqa: PLR2004 - gray
        return _decode_gray_tiff(data), AS_STORED
    if image.ndim == 2 and header.transparent_level is not None:  # noqa: PLR2004 - gray
        levels, image = image, cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
        image[levels == header.transparent_level, 3] = 0
    if header.format == "TIFF":  # OpenCV has turned it
        return image, AS_STORED
    exif = next((bytes(one) for kind, one in zip(kinds, contents, strict=True) if kind == EXIF), b"")
    return image, parse_orientation(exif)


def _decode_gray_tiff(data: bytes) -> Pixels:
    """Decode a TIFF of gray and alpha to BGRA, turned as its orientation says. Raises InvalidImage."""
    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            gray = np.asarray(ImageOps.exif_transpose(image).convert("LA"))
    except _PILLOW_ERRORS as error:
        raise InvalidImage("a TIFF image that is damaged or cut off") from error
    return np.ascontiguousarray(gray[..., [0, 0, 0, 1]])


def _turn(image: Pixels, orientation: int) -> Pixels:
    """Turn and mirror an image as an EXIF orientation, from 1 to 8, says: CIPA DC-008, 4.6.5.1 (tag 0x0112)."""
    if orientation == AS_STORED:
        return image
    if orientation >= FIRST_SWAPPED:
        image = image.transpose(1, 0, 2)
    rows = slice(None, None, -1) if orientation in (3, 4, 7, 8) else slice(None)
    columns = slice(None, None, -1) if orientation in (2, 3, 6, 7) else slice(None)
    return np.ascontiguousarray(image[rows, columns])


def _explain_failure(data: bytes, header: ImageHeader) -> str:
    """Return why OpenCV cannot decode an image."""
    if header.format != "TIFF":
        return f"a {header.format} image that is damaged or cut off"
    with contextlib.suppress(*_PILLOW_ERRORS), Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        bits = max(image.tag_v2.get(TIFF_BITS, (1,)))  # type: ignore[attr-defined]
        if bits > MAX_BITS:
            return f"a TIFF image of {bits} bits a sample, which is not read; save it with 8 or 16 bits a sample"
        compression = str(image.info.get("compression", "raw"))
        if compression not in READ_COMPRESSIONS:
            return f"a TIFF image with the compression {compression!r}, which is not read; save it with LZW or none"
    return "a TIFF image that is damaged or cut off"


def choose_reduction(header: ImageHeader, contract: ImageContract | None) -> int:
    """Return the factor by which a JPEG is decoded smaller: 1, 2, 4 or 8. Other formats have the factor 1.

    The shorter side of the decoded image is at least MIN_SIDE_FACTOR times the larger side of the contract.
    """
    if contract is None or contract.decoding is Decoding.WHOLE or header.format != "JPEG":
        return 1
    if header.pixels < MIN_REDUCED_PIXELS:
        return 1
    min_side = MIN_SIDE_FACTOR * max(contract.size)
    return next(
        (factor for factor in (MAX_REDUCTION, 4, 2) if min(header.width, header.height) >= factor * min_side), 1
    )


def read_header(data: bytes, limits: ImageLimits, parsed: ImageHeader | None = None) -> ImageHeader:
    """Read format, transparency and size without decoding, so that a decompression bomb is never unpacked.

    `parsed` is the result of `parse_header`, if it is known. Raises InvalidImage or ImageTooLarge.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"an image of {len(data):,} bytes exceeds the limit of {limits.max_bytes:,} bytes; "
            "scale it down or compress it"
        )
    if not data:
        raise InvalidImage("empty: an image of 0 bytes cannot be decoded")
    header = parsed or parse_header(data) or _read_header_with_pillow(data)
    if header.pixels > limits.max_pixels:
        raise ImageTooLarge(
            f"an image of {header.width:,} × {header.height:,} pixels exceeds the limit of {limits.max_pixels:,} "
            "pixels; scale it down"
        )
    return header


def _read_header_with_pillow(data: bytes) -> ImageHeader:
    try:
        with Image.open(io.BytesIO(data), formats=list(MEDIA_TYPES)) as image:
            width, height = image.size
            return ImageHeader(str(image.format), image.has_transparency_data, image.mode in GRAY_MODES, width, height)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("an image above the limit TRAINYARD_MAX_IMAGE_PIXELS; scale it down") from error
    except _PILLOW_ERRORS as error:
        found, supported = name_other_format(data), ", ".join(MEDIA_TYPES)
        if found is None:
            raise InvalidImage(f"not an image in a supported format; supported are {supported}") from error
        raise InvalidImage(f"{found}, which is not read: save it as PNG or JPEG; supported are {supported}") from error


def _blend_over_background(image: NDArray[Any], background: tuple[int, ...], *, premultiplied: bool) -> Pixels:
    """Convert BGRA to RGB over the background. OpenCV returns the colours of a TIFF already multiplied by alpha.

    OpenCV ignores some transparency that a header declares, and then returns gray levels or BGR. Raises InvalidImage.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise InvalidImage(f"an image of {image.dtype} values with transparency; save it with 8 or 16 bits a channel")
    if image.ndim == 2:  # noqa: PLR2004 - gray
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
    elif image.shape[-1] == 3:  # noqa: PLR2004 - BGR
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    height, width = image.shape[:2]
    # The result overwrites the image from its beginning: a pixel of RGB takes fewer bytes than one of BGRA.
    blended = image.reshape(-1).view(np.uint8)[: 3 * height * width].reshape(height, width, 3)
    rows = max(1, BLENDED_PIXELS // image.shape[1])
    for start in range(0, len(image), rows):
        levels = image[start : start + rows].astype(np.float32) * (WHITE / np.iinfo(image.dtype).max)
        color, alpha = levels[..., 2::-1], levels[..., 3:] / WHITE
        behind = np.asarray(background, np.float32) * (1 - alpha)
        over = (color if premultiplied else color * alpha) + behind
        blended[start : start + rows] = np.round(over).clip(0, WHITE)
    return blended
