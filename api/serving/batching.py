"""Batch requests dynamically behind a bounded queue."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from shared.errors import Overloaded

MAX_BATCH_SIZE = 32
"""The most requests in one batch. It equals MAX_ROWS_PER_RUN, the most rows that a network takes in one run."""


class BatchableRequest(Protocol):
    """A request that can be computed in one batch with other requests of the same kind."""

    @property
    def kind(self) -> Hashable:
        """Return the kind. Queued requests of equal kinds are computed in one batch."""

    @property
    def is_quick(self) -> bool:
        """Return whether only one thread at a time computes this kind: for short work, more threads are not faster."""


Request = TypeVar("Request", bound=BatchableRequest)


class DynamicBatcher(Generic[Request]):
    """A bounded queue of requests, and a limited number of threads that compute them in batches.

    The threads are those that call `submit`: each computes its own request, or a batch that begins with it. A batch
    consists of requests that had to wait; no request waits in order to fill a batch. A full queue refuses requests
    immediately, so that the time in the queue stays short.

    Args:
        max_parallel_batches: the most batches that are computed at the same time.
        waiting: the most requests in the queue.
        seconds: the longest time that a request waits in the queue.
        compute: computes a batch of requests of one kind and stores the results in the requests.
    """

    def __init__(
        self, max_parallel_batches: int, waiting: int, seconds: float, compute: Callable[[Sequence[Request]], None]
    ) -> None:
        self._max_parallel_batches = self._free = max_parallel_batches  # `_free` more batches can start
        self._max_waiting = waiting
        self._seconds = seconds
        self._compute = compute
        self._waiting: deque[_QueuedRequest[Request]] = deque()
        self._busy: set[Hashable] = set()  # quick kinds that a thread computes now
        self._changing = threading.Lock()  # protects `_free`, `_waiting` and `_busy`

    def submit(self, work: Request) -> None:
        """Compute the request, in this thread or in a batch of another thread. Returns when it is computed.

        Raises Overloaded if the queue is full or the request waits too long, and what `compute` raises.
        """
        queued = _QueuedRequest(work)
        with self._changing:
            if self._free and work.kind not in self._busy:
                self._free -= 1
                self._begin(queued, [])
            elif len(self._waiting) < self._max_waiting:
                queued.signal.acquire()  # so that `_wait` blocks, see _QueuedRequest
                self._waiting.append(queued)
            else:
                raise Overloaded(
                    f"{len(self._waiting)} requests are queued, the limit "
                    "(TRAINYARD_MAX_WAITING_PREDICTIONS for predictions). Retry in a few seconds."
                )
        if not queued.batch:
            self._wait(queued)
        if queued.batch:
            self._compute_batch(queued)
        if queued.error is not None:
            raise queued.error

    def count_waiting(self) -> int:
        return len(self._waiting)

    def _wait(self, queued: "_QueuedRequest[Request]") -> None:
        """Wait until this thread must compute a batch, or until another thread has computed the request.

        Raises Overloaded if the request is still in the queue after the time limit.
        """
        if queued.signal.acquire(timeout=self._seconds):
            return
        with self._changing:
            if queued in self._waiting:
                self._waiting.remove(queued)
                raise Overloaded(
                    f"The request was queued for {self._seconds:g} s, the limit "
                    "(TRAINYARD_PREDICTION_SECONDS for predictions). Retry in a few seconds."
                )
        # Another thread has just removed the request from the queue: it belongs to a batch now, and the signal follows.
        queued.signal.acquire()

    def _compute_batch(self, queued: "_QueuedRequest[Request]") -> None:
        """Compute the batch of this thread, start the next batch, and wake the other threads of this batch."""
        try:
            self._compute([one.work for one in queued.batch])
        except BaseException as error:  # noqa: BLE001 - `submit` raises it in the thread of each request
            for one in queued.batch:
                one.error = error
        with self._changing:
            candidate = self._end(queued)
        if candidate is not None:
            candidate.signal.release()
        for one in queued.batch[1:]:
            one.signal.release()

    def _begin(self, first: "_QueuedRequest[Request]", others: "list[_QueuedRequest[Request]]") -> None:
        """Make a batch of these requests, which the thread of `first` computes."""
        first.batch = [first, *others]
        if first.work.is_quick:
            self._busy.add(first.work.kind)

    def _end(self, ended: "_QueuedRequest[Request]") -> "_QueuedRequest[Request] | None":
        """Choose the next batch after a batch has ended.

        Returns:
            The first request of the next batch, whose thread must be woken; None if no queued request can start.
        """
        self._busy.discard(ended.work.kind)
        # The next batch begins with the request that has waited longest, except those of kinds that are busy: these are
        # computed when the batch of their kind ends.
        candidate = next((queued for queued in self._waiting if queued.work.kind not in self._busy), None)
        if candidate is None:
            self._free += 1
            return None
        self._waiting.remove(candidate)
        # Queued requests of the same kind join the batch, the oldest first. If the kind is quick, all of them join.
        # Otherwise only a share of 1 / at_once joins, so that the other threads compute the rest at the same time.
        same_kind = [queued for queued in self._waiting if queued.work.kind == candidate.work.kind]
        share = len(same_kind) if candidate.work.is_quick else len(same_kind) // self._max_parallel_batches
        others = same_kind[: min(share, MAX_BATCH_SIZE - 1)]
        for queued in others:
            self._waiting.remove(queued)
        self._begin(candidate, others)
        return candidate


class _QueuedRequest(Generic[Request]):
    """A request, and how its thread learns that its wait is over.

    Attributes:
        signal: the signal. It is released when the thread must compute `batch`, or when the request is computed.
        batch: the batch that the thread must compute, its own request first; empty if another thread computes it.
        error: what `compute` raised for the batch; None without an error.
    """

    __slots__ = ("batch", "error", "signal", "work")

    def __init__(self, work: Request) -> None:
        self.work = work
        # A lock is the cheapest signal. It is acquired before the request enters the queue, so the second `acquire` of
        # the same thread blocks until another thread releases it; a Lock, unlike an RLock, allows that. An Event would
        # create a Condition for each request and one more lock for each wait.
        self.signal = threading.Lock()
        self.batch: list[_QueuedRequest[Request]] = []
        self.error: BaseException | None = None
