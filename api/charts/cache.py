"""Keep rendered pictures in memory, by a digest of all that they show."""

import threading
from collections.abc import Callable

from cachetools import LRUCache

MAX_CACHE_BYTES = 64 * 2**20


class PictureCache:
    """Keep the pictures used most recently, up to `max_bytes`. Safe for threads."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = threading.Lock()

    def get_or_render(self, digest: str, render: Callable[[], bytes]) -> bytes:
        """Return the picture of this digest. Renders it outside the lock, so that others need not wait for it."""
        with self._lock:
            if (known := self._pictures.get(digest)) is not None:
                return known
        picture = render()
        with self._lock:
            if len(picture) <= self._pictures.maxsize:
                self._pictures[digest] = picture
        return picture
