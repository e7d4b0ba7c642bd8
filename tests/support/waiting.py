"""Wait for a condition instead of a fixed time."""

import time
from collections.abc import Callable

SECONDS_BETWEEN_LOOKS = 0.05


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until the condition holds; fail after `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"the condition was not met within {seconds:g} seconds"
        time.sleep(SECONDS_BETWEEN_LOOKS)
