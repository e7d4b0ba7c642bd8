"""Pictures that were drawn, by all that they show."""

import threading
from collections import OrderedDict
from collections.abc import Callable

MOST_BYTES = 64 * 2**20


class PictureCache:
    """Safe for threads; the least lately shown goes first."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def take(self, digest: str, draw: Callable[[], bytes]) -> bytes:
        with self._lock:
            if digest in self._pictures:
                self._pictures.move_to_end(digest)
                return self._pictures[digest]
        picture = draw()
        with self._lock:
            if digest not in self._pictures:
                self._pictures[digest] = picture
                self._bytes += len(picture)
            while self._bytes > MOST_BYTES:
                _, dropped = self._pictures.popitem(last=False)
                self._bytes -= len(dropped)
        return picture
