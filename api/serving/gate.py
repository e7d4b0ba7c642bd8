"""So many requests compute at a time, so many more may wait for it, and the next is told to come back."""

import threading
from types import TracebackType

from shared.errors import Overloaded


class Gate:
    """Answers at once when there is no room, rather than ever later."""

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._computing = threading.BoundedSemaphore(at_once)
        self._inside = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds

    def __enter__(self) -> None:
        """Raises Overloaded."""
        if not self._inside.acquire(blocking=False):
            raise Overloaded("More predictions are waited for here than can be made soon: try again in a moment.")
        if not self._computing.acquire(timeout=self._seconds):
            self._inside.release()
            raise Overloaded(f"The prediction did not get its turn within {self._seconds:g} s: try again in a moment.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._computing.release()
        self._inside.release()
