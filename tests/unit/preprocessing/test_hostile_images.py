"""Test that an image which claims more than it contains, or than is allowed, is refused before it is decoded."""

import contextlib
import dataclasses
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from shared.errors import ImageTooLarge, InvalidImage
from shared.inference.inputs import ImageInput, preprocess_inputs
from shared.preprocessing.decoding import ImageLimits, decode_image, decode_with_header, hold_large_image, read_header
from shared.preprocessing.image_header import MAX_SCANS, ImageHeader, remove_animation
from tests.support.contracts import build_image_contract
from tests.support.images import encoded, photo

LIMITS = ImageLimits(max_bytes=2**21, max_pixels=1_000_000)
SCAN = b"\xff\xda"


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
    limits = ImageLimits(max_bytes=2**20, max_pixels=1_000_000, max_total_pixels=2 * 60 * 80)
    images = [ImageInput(f"instances/{index}", encoded(photo(60, 80))) for index in range(3)]

    rows, read = preprocess_inputs(images, build_image_contract(), limits)

    assert len(rows) == 2
    assert isinstance(read[2], ImageTooLarge)
    assert "instances/2" in read[2].detail
    assert "TRAINYARD_MAX_REQUEST_PIXELS" in read[2].detail


def test_images_that_cannot_be_decoded_count_too() -> None:
    limits = ImageLimits(max_bytes=2**20, max_pixels=1_000_000, max_total_pixels=2 * 60 * 80)
    damaged = bytearray(encoded(photo(60, 80)))
    damaged[60:80] = bytes(20)
    images = [ImageInput("damaged", bytes(damaged))] * 2 + [ImageInput("good", encoded(photo(60, 80)))]

    rows, read = preprocess_inputs(images, build_image_contract(), limits)

    assert rows == []
    assert [type(found) for found in read] == [InvalidImage, InvalidImage, ImageTooLarge]


def test_a_progressive_jpeg_is_large_at_any_reduction() -> None:
    contract = build_image_contract()
    sequential = ImageHeader("JPEG", transparent=False, gray=False, width=3000, height=3000)
    progressive = dataclasses.replace(sequential, progressive=True)

    assert hold_large_image(progressive, contract) is not hold_large_image(sequential, contract)
    assert hold_large_image(progressive, contract) is hold_large_image(sequential)
    assert read_header(encoded(photo(), "JPEG", progressive=True), LIMITS).progressive
    assert not read_header(encoded(photo(), "JPEG"), LIMITS).progressive


@pytest.mark.parametrize(("side", "expected"), [(3000, 1), (1000, 2)], ids=["large", "small"])
def test_large_images_are_decoded_one_at_a_time(side: int, expected: int) -> None:
    header = ImageHeader("PNG", transparent=False, gray=False, width=side, height=side)
    both, inside, most = threading.Barrier(2), 0, 0

    def decode(_: int) -> None:
        nonlocal inside, most
        with hold_large_image(header):
            inside += 1
            most = max(most, inside)
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.3)
            most = max(most, inside)
            inside -= 1

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(decode, range(2)))

    assert most == expected
