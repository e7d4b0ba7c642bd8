"""Limit how often somebody may try to sign in with a wrong key."""

import threading
import time
from collections import deque
from collections.abc import Callable

from shared.access.key_text import find_key_id
from shared.errors import TooManySignIns

MAX_FAILURES = 10
"""The most wrong keys with one id, or without one, from one address within WINDOW_SECONDS."""
WINDOW_SECONDS = 300.0
MAX_REMEMBERED = 10_000
"""The newest failures that are remembered, of all addresses."""


class SignInLimiter:
    """Counts the wrong keys of a process. Safe for threads.

    Right keys do not count, and other keys of the same address go on: nobody can shut others out. `clock` returns
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: deque[tuple[float, str, str]] = deque(maxlen=MAX_REMEMBERED)  # time, address and id of the key
        self._lock = threading.Lock()

    def check(self, address: str, text: str) -> None:
        """Check that one more key from an address may be tried. `text` is the key. Raises TooManySignIns."""
        with self._lock:
            while self._failures and self._failures[0][0] <= self._clock() - WINDOW_SECONDS:
                self._failures.popleft()
            place = address, find_key_id(text) or ""
            same = [at for at, *other in self._failures if tuple(other) == place]
            if len(same) < MAX_FAILURES:
                return
            seconds = max(1, round(same[0] + WINDOW_SECONDS - self._clock()))
        raise TooManySignIns(f"Too many wrong keys were sent from your address. Try again in {seconds} s.")

    def add_failure(self, address: str, text: str) -> None:
        """Count a wrong key."""
        with self._lock:
            self._failures.append((self._clock(), address, find_key_id(text) or ""))
