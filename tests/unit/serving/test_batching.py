"""Test that the dynamic batcher limits its queue and batches waiting requests of one kind."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from api.serving.batching import MAX_BATCH_SIZE, DynamicBatcher
from shared.errors import Overloaded
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class NamedRequest:
    name: str
    kind: str
    is_quick: bool = False


class RecordingBatcher:
    """Wraps a DynamicBatcher; records the names of each batch instead of computing.

    A batch with a request named `stay` blocks until `released` is set. A batch with one named `fail` raises.
    """

    def __init__(self, max_parallel_batches: int = 1, waiting: int = 100, seconds: float = 10) -> None:
        self.batches: list[list[str]] = []
        self.released = threading.Event()
        self.batcher = DynamicBatcher[NamedRequest](max_parallel_batches, waiting, seconds, self._compute)
        self._started = threading.Semaphore(0)
        self._pool = ThreadPoolExecutor(50)

    def submit(self, request: NamedRequest) -> "Future[None]":
        return self._pool.submit(self.batcher.submit, request)

    def submit_in_order(self, requests: Sequence[NamedRequest]) -> "list[Future[None]]":
        """Submit each request once the previous one waits in the queue."""
        futures = []
        for request in requests:
            waiting = len(self.batcher._waiting)
            futures.append(self.submit(request))
            wait_for(lambda waiting=waiting: len(self.batcher._waiting) > waiting)  # type: ignore[misc]
        return futures

    def occupy_thread(self, kind: str = "other", *, is_quick: bool = False) -> "Future[None]":
        blocked = self.submit(NamedRequest("stay", kind, is_quick))
        self._started.acquire()
        return blocked

    def close(self) -> None:
        self.released.set()
        self._pool.shutdown()

    def _compute(self, requests: Sequence[NamedRequest]) -> None:
        names = [request.name for request in requests]
        if "stay" in names:
            self._started.release()
            assert self.released.wait(10)
        self.batches.append(names)
        if "fail" in names:
            raise ZeroDivisionError


@pytest.fixture
def make_recorder() -> Iterator[Callable[..., RecordingBatcher]]:
    recorders: list[RecordingBatcher] = []

    def make(**options: float) -> RecordingBatcher:
        recorders.append(RecordingBatcher(**options))  # type: ignore[arg-type]
        return recorders[-1]

    yield make
    for recorder in recorders:
        recorder.close()


def test_a_full_queue_refuses_requests(make_recorder: Callable[..., RecordingBatcher]) -> None:
    recorder = make_recorder(waiting=1)
    blocked = recorder.occupy_thread()
    (waiting,) = recorder.submit_in_order([NamedRequest("a", "a")])

    with pytest.raises(Overloaded):
        recorder.batcher.submit(NamedRequest("b", "b"))

    recorder.released.set()
    blocked.result()
    waiting.result()
    recorder.batcher.submit(NamedRequest("c", "c"))


def test_a_request_that_times_out_is_refused_and_frees_its_slot(make_recorder: Callable[..., RecordingBatcher]) -> None:
    recorder = make_recorder(waiting=1, seconds=0.05)
    recorder.occupy_thread()

    for _ in range(2):
        with pytest.raises(Overloaded, match=r"0\.05 s"):
            recorder.batcher.submit(NamedRequest("a", "a"))

    assert recorder.batches == []


def test_waiting_requests_of_one_kind_share_a_batch(make_recorder: Callable[..., RecordingBatcher]) -> None:
    recorder = make_recorder()
    recorder.occupy_thread()
    requests = [NamedRequest("a", "x"), NamedRequest("b", "y"), NamedRequest("c", "x"), NamedRequest("d", "x")]

    futures = recorder.submit_in_order(requests)
    recorder.released.set()
    for future in futures:
        future.result()

    assert recorder.batches == [["stay"], ["a", "c", "d"], ["b"]]


def test_slow_requests_of_one_kind_are_divided_among_the_threads(
    make_recorder: Callable[..., RecordingBatcher],
) -> None:
    recorder = make_recorder(max_parallel_batches=2)
    recorder.occupy_thread()
    recorder.occupy_thread()

    futures = recorder.submit_in_order([NamedRequest(str(number), "x") for number in range(4)])
    recorder.released.set()
    for future in futures:
        future.result()

    assert sorted(len(names) for names in recorder.batches if "stay" not in names) == [1, 1, 2]


def test_quick_requests_wait_for_the_running_batch_of_their_kind(
    make_recorder: Callable[..., RecordingBatcher],
) -> None:
    recorder = make_recorder(max_parallel_batches=2)
    recorder.occupy_thread("x", is_quick=True)
    futures = recorder.submit_in_order([NamedRequest("a", "x", is_quick=True), NamedRequest("b", "x", is_quick=True)])

    recorder.batcher.submit(NamedRequest("other", "y", is_quick=True))
    recorder.released.set()
    for future in futures:
        future.result()

    assert recorder.batches == [["other"], ["stay"], ["a", "b"]]


def test_a_batch_is_limited_to_the_maximum_size(make_recorder: Callable[..., RecordingBatcher]) -> None:
    recorder = make_recorder()
    recorder.occupy_thread()

    futures = recorder.submit_in_order([NamedRequest(str(number), "x") for number in range(MAX_BATCH_SIZE + 3)])
    recorder.released.set()
    for future in futures:
        future.result()

    assert [len(names) for names in recorder.batches] == [1, MAX_BATCH_SIZE, 3]


def test_a_failure_affects_only_the_requests_of_its_batch(make_recorder: Callable[..., RecordingBatcher]) -> None:
    recorder = make_recorder()
    recorder.occupy_thread()

    futures = recorder.submit_in_order([NamedRequest("a", "x"), NamedRequest("fail", "x"), NamedRequest("b", "y")])
    recorder.released.set()

    for failed in futures[:2]:
        with pytest.raises(ZeroDivisionError):
            failed.result()
    futures[2].result()
    recorder.batcher.submit(NamedRequest("c", "x"))
    assert recorder.batches[-1] == ["c"]
