"""Unpack the image files of a zip, and check that they can be decoded."""

import zipfile
from typing import NamedTuple

from api.ingestion.result import UNREADABLE
from shared.errors import ImageTooLarge, InvalidImage
from shared.preprocessing.decoding import ImageLimits, PixelBudget, read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.image_header import ImageHeader


class UnpackedImage(NamedTuple):
    """An encoded image whose header is within the limits."""

    data: bytes
    header: ImageHeader


def read_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ImageLimits) -> bytes | str:
    """Return the bytes of an image file, or the reason why it cannot be read.

    At most the limit of bytes is unpacked, even if the member has more bytes than the zip declares.
    """
    if info.file_size > limits.max_bytes:
        return (
            f"an image of {info.file_size:,} bytes exceeds the limit of {limits.max_bytes:,} bytes; "
            "scale it down or compress it"
        )
    try:
        with archive.open(info) as member:
            return member.read(limits.max_bytes)
    except UNREADABLE as error:
        return f"the member cannot be unpacked ({error}); create the zip again"


def unpack_image(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ImageLimits, budget: PixelBudget
) -> UnpackedImage | str:
    """Unpack an image file and read its header. Returns the reason if that fails."""
    content = read_content(archive, info, limits)
    if isinstance(content, str):
        return content
    try:
        header = read_header(content, limits)
        budget.spend(header)
    except (InvalidImage, ImageTooLarge) as error:
        return error.detail
    return UnpackedImage(content, header)


def measure_image(image: UnpackedImage | str, decoder: ImageDecoder) -> tuple[int, int] | str:
    """Decode an image file and return its (height, width), or the reason if that fails or `image` is a reason."""
    if isinstance(image, str):
        return image
    try:
        return decoder.measure(image.data, image.header)
    except InvalidImage as error:
        return error.detail
