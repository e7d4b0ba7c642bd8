"""Test that threads share child processes in turns."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from shared.errors import Overloaded
from shared.processes.child import ChildFailed, ChildProcess
from shared.processes.messages import Message
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


def test_a_process_that_the_kernel_ends_for_its_processor_time_says_so() -> None:
    code = """
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits

limits = ProcessLimits()

def respond(message):
    with limits.hold(2**28, 1):
        while True:
            pass

serve_messages(lambda: respond)
"""
    pool = ProcessPool("counting", [sys.executable, "-c", code], 1, 1, wait_seconds=60, unavailable=Overloaded)

    with pytest.raises(ChildFailed, match="counting took more processor time than its limit"):
        pool.ask(Message(b""), 60)

    pool.close()


def test_a_process_is_ended_by_several_threads_at_once() -> None:
    child = ChildProcess("waiting", [sys.executable, "-c", "input()"])
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            child.start()
            for ended in [threads.submit(child.end) for _ in range(8)]:
                ended.result()

    assert child.pid is None
