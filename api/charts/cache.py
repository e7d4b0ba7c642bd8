"""Render pictures in turn, and keep them in memory, by a digest of their content."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cachetools import LRUCache

from shared.errors import Overloaded

MAX_WAITING = 16
WAIT_SECONDS = 20.0
MAX_CACHE_BYTES = 64 * 2**20


class PictureCache:
    """A cache of the pictures used most recently, up to `max_bytes` in total. Safe for threads.

    One picture is rendered at a time, because rendering takes memory and all of a processor.

    Args:
        max_waiting: the most requests that wait for their turn.
        wait_seconds: the longest time that a request waits.
    """

    def __init__(
        self, max_bytes: int = MAX_CACHE_BYTES, *, max_waiting: int = MAX_WAITING, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(max_waiting + 1)
        self._wait_seconds = wait_seconds

    def get_or_render(self, digest: str, render: Callable[[], bytes]) -> bytes:
        """Return the picture with this digest, and render it if it is not cached.

        Raises Overloaded if too many requests wait, or this one waits too long, and what `render` raises.
        """
        if (known := self._find(digest)) is not None:
            return known
        with self._wait_for_turn():
            if (known := self._find(digest)) is not None:  # another thread has rendered it in the meantime
                return known
            picture = render()
            with self._lock:
                if len(picture) <= self._pictures.maxsize:
                    self._pictures[digest] = picture
            return picture

    def _find(self, digest: str) -> bytes | None:
        with self._lock:
            return self._pictures.get(digest)

    @contextmanager
    def _wait_for_turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many pictures wait to be drawn. Retry in a few seconds.")
        try:
            if not self._turn.acquire(timeout=self._wait_seconds):
                raise Overloaded(f"The picture waited {self._wait_seconds:g} s to be drawn. Retry in a few seconds.")
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._places.release()
