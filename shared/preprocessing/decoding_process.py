"""Decode images in a process with limits. Usage: `python -m shared.preprocessing.decoding_process`.

The process answers a DecodingRequest with a DecodingAnswer. It is a separate process because the decoders of images are
large libraries in C: an image can crash them, or make them take all memory or time.
"""

import traceback
from collections.abc import Callable

import cv2
from PIL import Image

from shared.errors import InvalidImage
from shared.preprocessing.contract import ImageContract
from shared.preprocessing.decoding import MAX_REDUCTION, ImageLimits, decode_with_header, read_header
from shared.preprocessing.image_decoder import DecodingAnswer, DecodingRequest, count_pixels_in_memory
from shared.preprocessing.image_header import ImageHeader
from shared.preprocessing.transforms import transform_image
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message

BASE_BYTES = 32 * 2**20
BYTES_PER_PIXEL = 18
MIN_BYTES_PER_PIXEL = 6
MAX_PIXEL_BYTES = 288 * 2**20
"""An image may take BASE_BYTES, its own bytes, and BYTES_PER_PIXEL for each pixel that is in memory.

Above MAX_PIXEL_BYTES it may take only MIN_BYTES_PER_PIXEL, which is enough for most images. OpenCV 5.0 has two copies
of a transparent PNG in memory, 4 or 8 bytes a pixel each.
"""
MAX_CPU_SECONDS = 10
"""Processor time for an image, in whole seconds (setrlimit(2)). The kernel then ends the process."""
NO_LIMITS = ImageLimits(max_bytes=2**62, max_pixels=2**62)
"""The process that asks has checked the limits."""


def prepare() -> Callable[[Message], Message]:
    """Return the function that answers a message."""
    cv2.setNumThreads(1)
    Image.MAX_IMAGE_PIXELS = None
    limits = ProcessLimits()

    def respond(message: Message) -> Message:
        request = DecodingRequest.model_validate_json(message.head)
        try:
            answer, pixels = _decode(message.payload, request.contract, limits)
        except InvalidImage as refused:
            answer, pixels = DecodingAnswer(refusal=refused.detail), b""
        except Exception as error:  # noqa: BLE001 - the libraries raise every kind for what they cannot decode
            traceback.print_exc()
            answer, pixels = DecodingAnswer(refusal=f"an image that cannot be decoded: {type(error).__name__}"), b""
        return Message(answer.model_dump_json().encode(), pixels)

    return respond


def _decode(data: bytes, contract: ImageContract | None, limits: ProcessLimits) -> tuple[DecodingAnswer, bytes]:
    """Decode an image within its limits. Raises InvalidImage."""
    header = read_header(data, NO_LIMITS)
    pixels_in_memory = count_pixels_in_memory(header, contract)
    pixel_bytes = max(MIN_BYTES_PER_PIXEL * pixels_in_memory, min(BYTES_PER_PIXEL * pixels_in_memory, MAX_PIXEL_BYTES))
    allowed_bytes = BASE_BYTES + len(data) + pixel_bytes
    try:
        with limits.hold(allowed_bytes, MAX_CPU_SECONDS):
            if contract is None:
                return DecodingAnswer(shape=_measure(data, header)), b""
            pixels, inverted = transform_image(decode_with_header(data, header, contract), contract)
    except MemoryError as error:
        raise InvalidImage(
            f"a {header.format} image of {header.width:,} × {header.height:,} pixels that takes more than "
            f"{allowed_bytes / 2**20:,.0f} MiB to decode; save it as a baseline JPEG, or a PNG with 8 bits a channel"
        ) from error
    return DecodingAnswer(shape=pixels.shape, inverted=inverted), pixels.tobytes()


def _measure(data: bytes, header: ImageHeader) -> tuple[int, int]:
    """Decode an image and return its (height, width) after rotation."""
    if header.format != "JPEG":
        height, width = decode_with_header(data, header, only_check=True).shape[:2]
        return height, width
    height, width = (-(-side // MAX_REDUCTION) for side in (header.height, header.width))
    if height == width:  # at this size, no rotation can be seen
        height, width = decode_with_header(data, header).shape[:2]
        return height, width
    is_turned = decode_with_header(data, header, only_check=True).shape[:2] != (height, width)
    return (header.width, header.height) if is_turned else (header.height, header.width)


if __name__ == "__main__":
    serve_messages(prepare)
