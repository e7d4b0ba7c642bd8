"""Test the decoding processes: equal pixels, limits on memory and time, and images that end a process."""

import os
import signal
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from shared.errors import InvalidImage, Overloaded
from shared.preprocessing.decoding import ImageLimits, decode_with_header, read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.transforms import transform_image
from shared.processes.pool import ProcessPool
from tests.support.contracts import build_image_contract
from tests.support.images import encoded, photo

LIMITS = ImageLimits(max_bytes=2**24, max_pixels=50_000_000)
CONTRACT = build_image_contract(size=(32, 48))
ANSWER_STRANGELY = """
import os, sys, time
from shared.processes.child import serve_messages
def respond(message):
    if message.payload.endswith(b"slow"):
        time.sleep(60)
    os._exit(3)
serve_messages(lambda: respond)
"""


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    decoder = ImageDecoder(LIMITS)
    yield decoder
    decoder.close()


@pytest.fixture
def failing() -> Iterator[ImageDecoder]:
    """Provide a decoder whose process ends with every image, or takes too long for one that ends with `slow`."""
    command = (sys.executable, "-c", ANSWER_STRANGELY)
    decoder = ImageDecoder(LIMITS, processes=1, decoding_seconds=0.5, command=command)
    yield decoder
    decoder.close()


@pytest.mark.parametrize(
    "data",
    [
        encoded(photo(60, 80), "WEBP"),
        encoded(photo(60, 80), "GIF"),
        encoded(photo(60, 80), "BMP"),
        encoded(photo(60, 80), "JPEG", progressive=True),
        encoded(np.dstack([photo(60, 80), photo(60, 80)[..., 0]]), "TIFF"),
        encoded(photo(2100, 2000), "JPEG"),
        encoded(photo(2100, 2000)),
    ],
    ids=["WebP", "GIF", "BMP", "progressive", "TIFF with transparency", "large JPEG", "large PNG"],
)
def test_a_process_returns_the_same_pixels_as_this_process(decoder: ImageDecoder, data: bytes) -> None:
    header = read_header(data, LIMITS)
    assert not header.is_plainly_safe
    here = transform_image(decode_with_header(data, header, CONTRACT), CONTRACT)

    there = decoder.transform(data, header, CONTRACT)

    assert np.array_equal(there.pixels, here.pixels)
    assert there.inverted == here.inverted
    assert decoder.measure(data, header) == (header.height, header.width)


def test_a_turned_image_is_measured_after_rotation(decoder: ImageDecoder) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    for height, width in ((60, 80), (60, 61)):
        data = encoded(photo(height, width), "JPEG", progressive=True, exif=exif)

        assert decoder.measure(data, read_header(data, LIMITS)) == (width, height)


def test_a_damaged_image_is_refused_with_the_same_reason(decoder: ImageDecoder) -> None:
    data = encoded(photo(60, 80), "JPEG", progressive=True)[:-400]
    header = read_header(data, LIMITS)

    with pytest.raises(InvalidImage) as here:
        decode_with_header(data, header)
    with pytest.raises(InvalidImage) as there:
        decoder.measure(data, header)

    assert there.value.detail == here.value.detail


def test_an_image_that_takes_too_much_memory_is_refused_and_the_next_is_decoded(decoder: ImageDecoder) -> None:
    data = cv2.imencode(".png", np.zeros((5000, 5000, 4), np.uint16))[1].tobytes()
    good = encoded(photo(2100, 2000))

    with pytest.raises(InvalidImage, match=r"5,000 × 5,000 pixels that takes more than \d+ MiB to decode"):
        decoder.transform(data, read_header(data, LIMITS), CONTRACT)

    assert decoder.transform(good, read_header(good, LIMITS), CONTRACT).pixels.shape == (32, 48, 3)


def test_an_image_that_ends_the_process_is_refused_and_the_next_is_asked(failing: ImageDecoder) -> None:
    data = encoded(photo(60, 80), "WEBP")
    header = read_header(data, LIMITS)

    for _ in range(2):
        with pytest.raises(InvalidImage, match=r"WEBP image that cannot be decoded: .* ended without an answer"):
            failing.transform(data, header, CONTRACT)


def test_an_image_that_takes_too_long_may_be_sent_again(failing: ImageDecoder) -> None:
    data = encoded(photo(60, 80), "WEBP")

    with pytest.raises(Overloaded, match=r"took longer than 0\.5 s"):
        failing.transform(data + b"slow", read_header(data, LIMITS), CONTRACT)


def test_a_process_that_was_killed_is_replaced(decoder: ImageDecoder) -> None:
    data = encoded(photo(60, 80), "WEBP")
    header = read_header(data, LIMITS)
    expected = decoder.transform(data, header, CONTRACT)
    for pool in (decoder._small, decoder._large):
        kill_all(pool)

    assert all(
        np.array_equal(decoder.transform(data, header, CONTRACT).pixels, expected.pixels)
        for _ in range(len(decoder._small.processes) + 1)
    )


def kill_all(pool: ProcessPool) -> None:
    for process in pool.processes:
        if process._process is not None:
            os.kill(process._process.pid, signal.SIGKILL)
            process._process.wait()


def test_a_full_queue_refuses() -> None:
    data = encoded(photo(60, 80), "WEBP")
    decoder = ImageDecoder(LIMITS, processes=1, max_waiting=0, command=("unused",))

    with decoder._small.use_process(""), pytest.raises(Overloaded, match="0 requests wait for decoding an image"):
        decoder.transform(data, read_header(data, LIMITS), CONTRACT)
