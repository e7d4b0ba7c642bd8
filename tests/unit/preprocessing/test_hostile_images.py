"""Test that an image which claims more than it contains, or than is allowed, is refused before it is decoded."""

import dataclasses
import struct

import cv2
import numpy as np
import pytest

from shared.errors import ImageTooLarge, InvalidImage
from shared.inference.inputs import ImageInput, preprocess_inputs
from shared.preprocessing.decoding import ImageLimits, PixelBudget, decode_image, decode_with_header, read_header
from shared.preprocessing.image_decoder import ImageDecoder, count_pixels_in_memory
from shared.preprocessing.image_header import MAX_SCANS, ImageHeader, remove_animation
from tests.support.contracts import build_image_contract
from tests.support.images import encoded, find_frame, hide_frame, make_chunk, photo, png_header

LIMITS = ImageLimits(max_bytes=2**21, max_pixels=1_000_000)
DECODER = ImageDecoder(LIMITS, processes=0)
SCAN = b"\xff\xda"


def test_a_png_chunk_longer_than_the_file_is_refused() -> None:
    head = b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))

    with pytest.raises(InvalidImage, match="the chunk 'IDAT' claims 4,294,967,280 bytes, and 12 are left"):
        read_header(head + struct.pack(">I", 0xFFFFFFF0) + b"IDAT" + b"\0" * 16, LIMITS)


def test_the_chunks_of_an_animation_are_not_decoded() -> None:
    still = encoded(photo())
    control = make_chunk(b"acTL", struct.pack(">II", 2, 0))  # without fcTL, OpenCV 5.0 crashes
    damaged = still[:33] + control + still[33:-12] + make_chunk(b"fdAT", b"\0\0\0\1x") + still[-12:]

    assert remove_animation(damaged) == still
    assert np.array_equal(decode_image(damaged, LIMITS), decode_image(still, LIMITS))


def make_budget(max_pixels: int) -> PixelBudget:
    return PixelBudget(max_pixels, "the images have too many pixels")


def test_a_jpeg_segment_longer_than_the_file_is_refused() -> None:
    jpeg = encoded(photo(), "JPEG")

    with pytest.raises(InvalidImage, match="a segment claims"):
        read_header(jpeg[: jpeg.index(b"\xff\xdb") + 20], LIMITS)


def test_a_frame_header_behind_a_fill_byte_is_found() -> None:
    with pytest.raises(ImageTooLarge, match="32,000 × 32,000"):
        read_header(hide_frame(encoded(photo(), "JPEG"), 32_000, 32_000), LIMITS)


def test_a_jpeg_with_two_frame_headers_is_refused() -> None:
    jpeg = encoded(photo(), "JPEG")
    start, end = find_frame(jpeg)

    with pytest.raises(InvalidImage, match="more than one frame header"):
        read_header(jpeg[:end] + jpeg[start:], LIMITS)


@pytest.mark.parametrize(("scans", "is_refused"), [(MAX_SCANS, False), (MAX_SCANS + 1, True)])
def test_the_scans_of_a_progressive_jpeg_are_limited(scans: int, *, is_refused: bool) -> None:
    jpeg = encoded(photo(), "JPEG", progressive=True)
    last = jpeg.rindex(SCAN)
    repeated = jpeg[:last] + jpeg[last:-2] * (scans - jpeg.count(SCAN) + 1) + jpeg[-2:]

    if is_refused:
        with pytest.raises(InvalidImage, match="101 scans; the limit for 4,800 pixels is 100"):
            read_header(repeated, LIMITS)
    else:
        assert read_header(repeated, LIMITS).format == "JPEG"


def test_an_image_of_another_size_than_its_header_is_refused() -> None:
    data = encoded(photo(60, 80))

    with pytest.raises(InvalidImage, match="that is 80 × 60 pixels large, and 16 × 60 in its header"):
        decode_with_header(data, dataclasses.replace(read_header(data, LIMITS), width=16))


def test_a_rotated_jpeg_may_have_its_sides_swapped() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"

    assert decode_image(encoded(photo(60, 80), "JPEG", exif=exif), LIMITS).shape == (80, 60, 3)


def test_a_large_transparent_image_is_blended_in_strips_like_a_small_one() -> None:
    levels = np.dstack([photo(1200, 500), photo(1200, 500)[..., 0]])
    alpha = levels[..., 3:] / 255.0

    decoded = decode_image(encoded(levels), LIMITS, build_image_contract(background=255))

    assert np.abs(decoded - (levels[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


@pytest.mark.parametrize("levels", [photo(), photo()[..., 0], photo().astype(np.uint16) * 257])
def test_transparency_that_opencv_ignores_is_no_error(levels: np.ndarray) -> None:
    encoded_levels = cv2.imencode(".png", levels)[1].tobytes()
    header = dataclasses.replace(read_header(encoded_levels, LIMITS), transparent=True)

    decoded = decode_with_header(encoded_levels, header)

    assert np.array_equal(decoded, decode_image(encoded_levels, LIMITS))


def test_the_pixels_of_a_request_are_limited_together() -> None:
    images = [ImageInput(f"instances/{index}", encoded(photo(60, 80))) for index in range(3)]

    rows, read = preprocess_inputs(images, build_image_contract(), DECODER, make_budget(2 * 60 * 80))

    assert len(rows) == 2
    assert isinstance(read[2], ImageTooLarge)
    assert "instances/2" in read[2].detail
    assert "the images have too many pixels" in read[2].detail


def test_images_that_cannot_be_decoded_count_too() -> None:
    damaged = bytearray(encoded(photo(60, 80)))
    damaged[60:80] = bytes(20)
    images = [ImageInput("damaged", bytes(damaged))] * 2 + [ImageInput("good", encoded(photo(60, 80)))]

    rows, read = preprocess_inputs(images, build_image_contract(), DECODER, make_budget(2 * 60 * 80))

    assert rows == []
    assert [type(found) for found in read] == [InvalidImage, InvalidImage, ImageTooLarge]


@pytest.mark.parametrize(
    ("data", "is_safe"),
    [
        (encoded(photo()), True),
        (encoded(photo(), "JPEG"), True),
        (encoded(photo(), "JPEG", progressive=True), False),
        (encoded(photo(), "WEBP"), False),
        (encoded(photo(), "GIF"), False),
        (png_header(2000, 2001), False),
    ],
    ids=["PNG", "JPEG", "progressive", "WebP", "GIF", "large"],
)
def test_small_images_of_walked_structure_are_plainly_safe(data: bytes, *, is_safe: bool) -> None:
    assert read_header(data, ImageLimits(max_bytes=2**20, max_pixels=10**8)).is_plainly_safe == is_safe


@pytest.mark.parametrize(("format_name", "match"), [("PNG", r"more than 4,0\d\d chunks"), ("JPEG", "2,000 segments")])
def test_empty_chunks_and_segments_are_limited(format_name: str, match: str) -> None:
    data = encoded(photo(), format_name)
    many = (
        data[:33] + 4_100 * make_chunk(b"tEXt", b"") + data[33:]
        if format_name == "PNG"
        else data[:2] + 2_000 * b"\xff\xfe\0\2" + data[2:]
    )

    with pytest.raises(InvalidImage, match=match):
        read_header(many, LIMITS)


def test_pixels_in_memory_are_those_that_are_decoded() -> None:
    contract = build_image_contract()
    sequential = ImageHeader("JPEG", transparent=False, gray=False, width=3200, height=3200, sequential=True)
    progressive = dataclasses.replace(sequential, sequential=False)

    assert count_pixels_in_memory(sequential, contract) == 400 * 400
    assert count_pixels_in_memory(progressive, contract) == 3200 * 3200
