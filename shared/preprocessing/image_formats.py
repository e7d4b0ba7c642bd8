"""Name the formats of images that are not read, and read the orientation of those that are."""

import struct

AS_STORED = 1
"""The EXIF orientation of an image whose first pixel is at the top left."""
MAX_ORIENTATION = 8
_ORIENTATION_TAG = 0x0112
_EXIF_MARK = b"Exif\0\0"
_ENTRY_BYTES = 12
_STARTS = {
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL image",
    b"\xff\x0a": "a JPEG XL image",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\x00\x00\x01\x00": "an icon (ICO)",
    b"8BPS": "a Photoshop document",
    b"%PDF": "a PDF document",
    b"P6": "a PPM image",
    b"P5": "a PGM image",
    b"PK\x03\x04": "a zip archive",
}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC image, as iPhones take"),
}
"""Formats of the ISO base media file format by the brand in their first box."""


def name_other_format(data: bytes) -> str | None:
    """Name the format of an image that is not read, by its first bytes. Returns None for an unknown one."""
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[start : start + 4] for start in range(16, 40, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "a video or an image of its kind")
    text = data[:200].lstrip().lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:2000].lower():
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return next((what for start, what in _STARTS.items() if data.startswith(start)), None)


def parse_orientation(exif: bytes) -> int:
    """Return the orientation of an EXIF block, from 1 to 8; 1 if it has none. The block is a TIFF file: TIFF 6.0."""
    exif = exif.removeprefix(_EXIF_MARK)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return AS_STORED
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + index * _ENTRY_BYTES)
            if tag == _ORIENTATION_TAG:
                return int(value) if AS_STORED <= value <= MAX_ORIENTATION else AS_STORED
    except struct.error:  # cut off
        return AS_STORED
    return AS_STORED
