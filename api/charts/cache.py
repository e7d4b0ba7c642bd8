"""Keep rendered pictures in memory, by a digest of their content."""

import threading
from collections.abc import Callable

from cachetools import LRUCache

MAX_CACHE_BYTES = 64 * 2**20


class PictureCache:
    """A cache of the pictures used most recently, up to `max_bytes` in total. Safe for threads."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = threading.Lock()

    def get_or_render(self, digest: str, render: Callable[[], bytes]) -> bytes:
        """Return the picture with this digest, and render it if it is not cached.

        The picture is rendered outside the lock, so that requests for other pictures do not wait. Two threads can
        render the same picture at the same time.
        """
        with self._lock:
            if (known := self._pictures.get(digest)) is not None:
                return known
        picture = render()
        with self._lock:
            if len(picture) <= self._pictures.maxsize:
                self._pictures[digest] = picture
        return picture
