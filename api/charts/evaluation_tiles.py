"""Read the stored test images of versions, and encode them as PNG."""

import threading
from collections.abc import Callable

import cv2
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from shared.registry.evaluation import TestImages

MAX_CACHE_BYTES = 64 * 2**20
GRAY_CHANNELS = 1


class TestImageCache:
    """The stored test images that were used most recently, by the digest of their file. Safe for threads.

    A page shows a hundred tiles of one file: without a cache, each of them would unpack the file.
    """

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._images: LRUCache[str, TestImages] = LRUCache(max_bytes, getsizeof=lambda read: read.images.nbytes)
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def get_or_read(self, sha256: str, read: Callable[[], TestImages]) -> TestImages:
        """Return the images of the file with this digest. Raises what `read` raises."""
        if (known := self._find(sha256)) is not None:
            return known
        with self._reading:  # one file is unpacked at a time
            if (known := self._find(sha256)) is not None:
                return known
            images = read()
            with self._lock:
                if images.images.nbytes <= self._images.maxsize:
                    self._images[sha256] = images
            return images

    def _find(self, sha256: str) -> TestImages | None:
        with self._lock:
            return self._images.get(sha256)


def encode_tile(image: NDArray[np.uint8], side: int | None) -> bytes:
    """Encode an image (height, width, channels) uint8 as PNG.

    `side` is the length of its longer side in pixels; None for its own size. Pixels that are enlarged stay sharp.
    """
    height, width, channels = image.shape
    scale = 1.0 if side is None else side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = image if channels == GRAY_CHANNELS else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA)
    _, content = cv2.imencode(".png", scaled)
    return content.tobytes()
