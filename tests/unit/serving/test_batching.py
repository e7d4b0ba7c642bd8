"""Predictions take turns, the queue for them has an end, and those of one kind that waited go together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from api.serving.batching import MAX_BATCH_SIZE, DynamicBatcher
from shared.errors import Overloaded
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Named:
    name: str
    kind: str
    is_quick: bool = False


class Desk:
    """Computes nothing, notes what it was given together, and stays with what has the name `stay` until told."""

    def __init__(self, max_parallel_batches: int = 1, waiting: int = 100, seconds: float = 10) -> None:
        self.done: list[list[str]] = []
        self.may_leave = threading.Event()
        self.batcher = DynamicBatcher[Named](max_parallel_batches, waiting, seconds, self._compute)
        self._begun = threading.Semaphore(0)
        self._pool = ThreadPoolExecutor(50)

    def ask(self, work: Named) -> "Future[None]":
        return self._pool.submit(self.batcher.submit, work)

    def ask_in_turn(self, works: Sequence[Named]) -> "list[Future[None]]":
        """Each waits before the next asks."""
        asked = []
        for work in works:
            waiting = len(self.batcher._waiting)
            asked.append(self.ask(work))
            wait_for(lambda waiting=waiting: len(self.batcher._waiting) > waiting)  # type: ignore[misc]
        return asked

    def keep_busy(self, kind: str = "other", *, is_quick: bool = False) -> "Future[None]":
        staying = self.ask(Named("stay", kind, is_quick))
        self._begun.acquire()
        return staying

    def end(self) -> None:
        self.may_leave.set()
        self._pool.shutdown()

    def _compute(self, works: Sequence[Named]) -> None:
        names = [work.name for work in works]
        if "stay" in names:
            self._begun.release()
            assert self.may_leave.wait(10)
        self.done.append(names)
        if "fail" in names:
            raise ZeroDivisionError


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**options: float) -> Desk:
        desks.append(Desk(**options))  # type: ignore[arg-type]
        return desks[-1]

    yield make
    for each in desks:
        each.end()


def test_no_more_than_may_wait(desk: Callable[..., Desk]) -> None:
    busy = desk(waiting=1)
    staying = busy.keep_busy()
    (waiting,) = busy.ask_in_turn([Named("a", "a")])

    with pytest.raises(Overloaded):
        busy.batcher.submit(Named("b", "b"))

    busy.may_leave.set()
    staying.result()
    waiting.result()
    busy.batcher.submit(Named("c", "c"))


def test_who_waits_too_long_is_told_so_and_takes_no_place(desk: Callable[..., Desk]) -> None:
    busy = desk(waiting=1, seconds=0.05)
    busy.keep_busy()

    for _ in range(2):
        with pytest.raises(Overloaded, match=r"0\.05 s"):
            busy.batcher.submit(Named("a", "a"))

    assert busy.done == []


def test_those_of_a_kind_that_waited_go_together_and_no_others(desk: Callable[..., Desk]) -> None:
    busy = desk()
    busy.keep_busy()
    works = [Named("a", "x"), Named("b", "y"), Named("c", "x"), Named("d", "x")]

    asked = busy.ask_in_turn(works)
    busy.may_leave.set()
    for future in asked:
        future.result()

    assert busy.done == [["stay"], ["a", "c", "d"], ["b"]]


def test_what_takes_long_leaves_the_other_threads_their_share(desk: Callable[..., Desk]) -> None:
    busy = desk(max_parallel_batches=2)
    busy.keep_busy()
    busy.keep_busy()

    asked = busy.ask_in_turn([Named(str(number), "x") for number in range(4)])
    busy.may_leave.set()
    for future in asked:
        future.result()

    assert sorted(len(names) for names in busy.done if "stay" not in names) == [1, 1, 2]


def test_what_is_quick_waits_for_its_kind_although_a_thread_is_free(desk: Callable[..., Desk]) -> None:
    busy = desk(max_parallel_batches=2)
    busy.keep_busy("x", is_quick=True)
    asked = busy.ask_in_turn([Named("a", "x", is_quick=True), Named("b", "x", is_quick=True)])

    busy.batcher.submit(Named("other", "y", is_quick=True))
    busy.may_leave.set()
    for future in asked:
        future.result()

    assert busy.done == [["other"], ["stay"], ["a", "b"]]


def test_no_more_together_than_the_memory_is_made_for(desk: Callable[..., Desk]) -> None:
    busy = desk()
    busy.keep_busy()

    asked = busy.ask_in_turn([Named(str(number), "x") for number in range(MAX_BATCH_SIZE + 3)])
    busy.may_leave.set()
    for future in asked:
        future.result()

    assert [len(names) for names in busy.done] == [1, MAX_BATCH_SIZE, 3]


def test_a_failure_reaches_all_it_was_computed_with_and_ends_there(desk: Callable[..., Desk]) -> None:
    busy = desk()
    busy.keep_busy()

    asked = busy.ask_in_turn([Named("a", "x"), Named("fail", "x"), Named("b", "y")])
    busy.may_leave.set()

    for failed in asked[:2]:
        with pytest.raises(ZeroDivisionError):
            failed.result()
    asked[2].result()
    busy.batcher.submit(Named("c", "x"))
    assert busy.done[-1] == ["c"]
