"""Test that threads share child processes in turns."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from shared.errors import Overloaded
from shared.processes.pool import ProcessPool
from tests.support.waiting import wait_for


def test_owners_take_turns() -> None:
    pool = ProcessPool("testing", ["unused"], size=1, max_waiting=10, wait_seconds=60, unavailable=Overloaded)
    order: list[str] = []

    def use(owner: str) -> None:
        with pool.use_process(owner):
            order.append(owner)

    def count_waiting() -> int:
        return sum(map(len, pool._waiting.values()))

    with ThreadPoolExecutor(6) as threads, pool.use_process("ada"):
        for owner in ("ada", "ada", "ada", "bob", "eve"):
            wanted = count_waiting() + 1
            threads.submit(use, owner)
            wait_for(partial(lambda count: count_waiting() == count, wanted))

    assert order == ["ada", "bob", "eve", "ada", "ada"]
