"""Decode and transform images: plainly safe ones in this process, all others in child processes with limits."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
from pydantic import BaseModel

from shared.errors import InvalidImage, Overloaded
from shared.preprocessing.contract import ImageContract
from shared.preprocessing.decoding import ImageLimits, choose_reduction, decode_with_header
from shared.preprocessing.image_header import MAX_PLAIN_PIXELS, ImageHeader
from shared.preprocessing.transforms import TransformedImage, transform_image
from shared.processes.child import ChildFailed, ChildTimedOut
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool

MAX_FREE_PIXELS = 1_000_000
"""Decoding an image of more pixels takes so long that others would wait for it."""
MAX_PROCESSES = 4
MAX_WAITING = 16
"""The most images that wait for a process of a pool."""
WAIT_SECONDS = 10.0
DECODING_SECONDS = 20.0
"""Timeout for an image. If the machine is not busy, the limit on processor time ends a process before."""


class DecodingRequest(BaseModel):
    """The head of a message to a decoding process; its payload is the encoded image.

    `contract` is how to transform the image; None if only its size is wanted.
    """

    contract: ImageContract | None


class DecodingAnswer(BaseModel):
    """The head of the answer; its payload is the transformed pixels, or empty.

    Attributes:
        refusal: why the image cannot be decoded; None if it is decoded.
        shape: shape of the pixels; without a contract, (height, width) of the decoded image.
    """

    refusal: str | None = None
    shape: tuple[int, ...] = ()
    inverted: bool = False


class ImageDecoder:
    """Decodes images within limits, for several threads.

    An image is plainly safe if its structure is walked and its decoding takes little memory. All others are decoded in
    child processes, which have a limit on their memory and their time: an image that ends one is refused, and nothing
    else is hurt. One process decodes all large images, so that only one is in memory at a time.

    Args:
        limits: limits on each image.
        parallel_here: the most plainly safe images of more than MAX_FREE_PIXELS that are decoded in this process at the
            same time.
        processes: number of processes for images that are not large; by default one less than there are processors, 1
            to MAX_PROCESSES. With 0, every image is decoded in this process: only for images from a trusted source.
        max_waiting: the most images that wait for a process.
        wait_seconds: the longest time that an image waits.
        decoding_seconds: timeout for an image.
        command: command line of a process; by default, that of `shared.preprocessing.decoding_process`.
    """

    def __init__(
        self,
        limits: ImageLimits,
        *,
        parallel_here: int = 1,
        processes: int | None = None,
        max_waiting: int = MAX_WAITING,
        wait_seconds: float = WAIT_SECONDS,
        decoding_seconds: float = DECODING_SECONDS,
        command: Sequence[str] = (sys.executable, "-m", "shared.preprocessing.decoding_process"),
    ) -> None:
        self.limits = limits
        size = min(max(1, (os.cpu_count() or 1) - 1), MAX_PROCESSES) if processes is None else processes
        self._decodes_here = size == 0
        self._decoding_seconds = decoding_seconds
        self._wait_seconds = wait_seconds
        self._parallel_here = threading.BoundedSemaphore(parallel_here)
        self._small = ProcessPool("decoding an image", command, size, max_waiting, wait_seconds, Overloaded)
        self._large = ProcessPool("decoding a large image", command, 1, max_waiting, wait_seconds, Overloaded)

    def start(self) -> None:
        """Start the processes without waiting for them. Otherwise, each starts with its first image."""
        self._small.start()
        self._large.start()

    def close(self) -> None:
        """End the processes."""
        self._small.close()
        self._large.close()

    def transform(
        self, data: bytes, header: ImageHeader, contract: ImageContract, *, here: bool = True
    ) -> TransformedImage:
        """Decode and transform an image whose header is within the limits.

        `here` is whether a plainly safe image may be decoded in this process.

        Raises InvalidImage, or Overloaded if it waits too long.
        """
        if (here and header.is_plainly_safe) or self._decodes_here:
            with self._take_turn(header):
                return transform_image(decode_with_header(data, header, contract), contract)
        answer, payload = self._ask(data, header, contract)
        return TransformedImage(np.frombuffer(payload, np.uint8).reshape(answer.shape), answer.inverted)

    def measure(self, data: bytes, header: ImageHeader) -> tuple[int, int]:
        """Decode an image whose header is within the limits, and return its (height, width) after rotation.

        Raises InvalidImage, or Overloaded if it waits too long.
        """
        if header.is_plainly_safe or self._decodes_here:
            with self._take_turn(header):
                height, width, _ = decode_with_header(data, header).shape
        else:
            height, width = self._ask(data, header, None)[0].shape
        return height, width

    @contextmanager
    def _wait_for_turn(self) -> Iterator[None]:
        if not self._parallel_here.acquire(timeout=self._wait_seconds):
            raise Overloaded(
                f"The image waited {self._wait_seconds:g} s to be decoded, the limit. Retry in a few seconds."
            )
        try:
            yield
        finally:
            self._parallel_here.release()

    def _take_turn(self, header: ImageHeader) -> AbstractContextManager[None]:
        return self._wait_for_turn() if header.pixels > MAX_FREE_PIXELS else nullcontext()

    def _ask(self, data: bytes, header: ImageHeader, contract: ImageContract | None) -> tuple[DecodingAnswer, bytes]:
        """Decode an image in a process. Raises InvalidImage, also if the process ends, or Overloaded."""
        request = DecodingRequest(contract=contract).model_dump_json().encode()
        pool = self._large if count_pixels_in_memory(header, contract) > MAX_PLAIN_PIXELS else self._small
        try:
            head, payload = pool.ask(Message(request, data), self._decoding_seconds)
        except ChildTimedOut as failure:
            raise Overloaded(f"The image cannot be decoded now: {failure}. Retry in a few seconds.") from failure
        except ChildFailed as failure:
            raise InvalidImage(f"a {header.format} image that cannot be decoded: {failure}; save it again") from failure
        answer = DecodingAnswer.model_validate_json(head)
        if answer.refusal is not None:
            raise InvalidImage(answer.refusal)
        return answer, payload


def count_pixels_in_memory(header: ImageHeader, contract: ImageContract | None) -> int:
    """Return the pixels that are in memory while an image is decoded, which are fewer if a JPEG is reduced."""
    return header.pixels // choose_reduction(header, contract) ** 2 if header.sequential else header.pixels
