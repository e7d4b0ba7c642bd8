"""Test orientation and transparency in every format, and that formats which are not read are named."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from shared.errors import InvalidImage
from shared.inference.inputs import ImageInput, preprocess_input
from shared.preprocessing.decoding import ImageLimits, decode_image
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.image_formats import parse_orientation
from tests.support.contracts import build_image_contract
from tests.support.images import encoded

LIMITS = ImageLimits(max_bytes=2**24, max_pixels=10**7)
NOISE = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)


def save(image: Image.Image, image_format: str, orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    written = io.BytesIO()
    image.save(written, image_format, exif=exif, **options)
    return written.getvalue()


def show_as_pillow(data: bytes) -> np.ndarray:
    """Decode as Pillow does, turned and over black."""
    with Image.open(io.BytesIO(data)) as image:
        turned = ImageOps.exif_transpose(image).convert("RGBA")
    black = Image.new("RGBA", turned.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, turned).convert("RGB")).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image_format", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGBA"),
        ("TIFF", "LA"),
    ],
)
def test_the_orientation_counts_with_and_without_transparency(image_format: str, mode: str, orientation: int) -> None:
    lossless = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = save(Image.fromarray(NOISE).convert(mode), image_format, orientation, **lossless)

    decoded = decode_image(data, LIMITS)

    assert decoded.shape == show_as_pillow(data).shape
    assert np.abs(decoded - show_as_pillow(data)).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_level_that_a_gray_png_declares_transparent_lies_over_the_background(dtype: type) -> None:
    level = 128 if dtype == np.uint8 else 128 * 257
    gray: np.ndarray = np.full((4, 5), level, dtype)
    gray[0] = np.iinfo(dtype).max
    data = save(Image.fromarray(gray), "PNG", transparency=level)

    decoded = decode_image(data, LIMITS)
    on_white = decode_image(data, LIMITS, build_image_contract(background=255))

    assert decoded[:, 0, 0].tolist() == [255, 0, 0, 0]
    assert on_white[:, 0, 0].tolist() == [255] * 4


def test_black_ink_on_a_transparent_canvas_is_told() -> None:
    canvas = np.zeros((20, 20, 4), np.uint8)
    canvas[5:15, 9:11, 3] = 255
    decoder = ImageDecoder(LIMITS, processes=0)

    def find_warnings(image: np.ndarray, background: int) -> list[str]:
        contract = build_image_contract(color="grayscale", background=background)
        return preprocess_input(ImageInput("a", encoded(image)), contract, decoder).warnings

    assert "strokes have the same colour, on a transparent canvas" in find_warnings(canvas, 0)[0]
    assert find_warnings(canvas, 255) == []
    assert find_warnings(np.zeros((40, 40, 3), np.uint8), 0) == [
        "The image is blank: all its pixels are about the same."
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "a HEIC image"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "an AVIF image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "a video"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"%PDF-1.7", "a PDF document"),
    ],
)
def test_formats_that_are_not_read_are_named(data: bytes, words: str) -> None:
    with pytest.raises(InvalidImage, match=f"{words}.*, which is not read: save it as PNG or JPEG"):
        decode_image(data, LIMITS)


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (Image.fromarray(NOISE[..., 0].astype(np.float32)), {}, "32 bits a sample, which is not read"),
        (Image.fromarray(NOISE[..., 0].astype(np.int32)), {}, "32 bits a sample, which is not read"),
        (Image.fromarray(NOISE[..., :3]), {"compression": "zstd"}, "the compression 'zstd', which is not read"),
    ],
)
def test_a_tiff_that_is_whole_is_not_called_damaged(image: Image.Image, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidImage, match=words):
        decode_image(save(image, "TIFF", **options), LIMITS)


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 6),
        (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0", 3),
        (b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0", 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff\x01\x13", 1),
        (b"", 1),
    ],
)
def test_the_orientation_is_read_from_exif(exif: bytes, orientation: int) -> None:
    assert parse_orientation(exif) == orientation
