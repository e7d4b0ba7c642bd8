"""Predictions take turns, and the queue for them has an end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.serving.gate import Gate
from shared.errors import Overloaded


def test_no_more_than_may_wait_at_the_gate() -> None:
    gate = Gate(at_once=1, waiting=1, seconds=10)
    inside, may_leave = threading.Event(), threading.Event()

    def stay() -> None:
        with gate:
            inside.set()
            may_leave.wait()

    with ThreadPoolExecutor(2) as pool:
        staying = [pool.submit(stay) for _ in range(2)]
        inside.wait()
        while gate._inside._value > 0:
            time.sleep(0.01)
        with pytest.raises(Overloaded), gate:
            pass
        may_leave.set()
        for future in staying:
            future.result()
    with gate:
        pass


def test_who_waits_too_long_is_told_so() -> None:
    gate = Gate(at_once=1, waiting=5, seconds=0.05)

    with gate, ThreadPoolExecutor(1) as pool:

        def enter() -> None:
            with gate:
                pass

        with pytest.raises(Overloaded, match=r"0\.05 s"):
            pool.submit(enter).result()
