"""Waiting for what will come, instead of for a time."""

import time
from collections.abc import Callable

SECONDS_BETWEEN_LOOKS = 0.05


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"waited {seconds:g} seconds in vain"
        time.sleep(SECONDS_BETWEEN_LOOKS)
