"""So many threads compute at a time, so many requests may wait, and those of one kind that waited go together."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from shared.errors import Overloaded

MAX_BATCH_SIZE = 32


class BatchableRequest(Protocol):
    @property
    def kind(self) -> Hashable:
        """Works of one kind that wait are computed together."""

    @property
    def is_quick(self) -> bool:
        """Then one thread does all of its kind, however many are free: they would only get in each other's way."""


Request = TypeVar("Request", bound=BatchableRequest)


class DynamicBatcher(Generic[Request]):
    """Refuses at once when there is no room, rather than answer ever later."""

    def __init__(
        self, at_once: int, waiting: int, seconds: float, compute: Callable[[Sequence[Request]], None]
    ) -> None:
        self._at_once = self._free = at_once
        self._most_waiting = waiting
        self._seconds = seconds
        self._compute = compute
        self._waiting: deque[_QueuedRequest[Request]] = deque()
        self._busy: set[Hashable] = set()
        self._changing = threading.Lock()

    def do(self, work: Request) -> None:
        """Returns when it was computed, here or by another thread. Raises Overloaded, and what `compute` raises."""
        ticket = _QueuedRequest(work)
        with self._changing:
            if self._free and work.kind not in self._busy:
                self._free -= 1
                self._begin(ticket, [])
            elif len(self._waiting) < self._most_waiting:
                ticket.called.acquire()
                self._waiting.append(ticket)
            else:
                raise Overloaded("More predictions are waited for here than can be made soon: try again in a moment.")
        if not ticket.together:
            self._wait(ticket)
        if ticket.together:
            self._take_turn(ticket)
        if ticket.error is not None:
            raise ticket.error

    def count_waiting(self) -> int:
        return len(self._waiting)

    def _wait(self, ticket: "_QueuedRequest[Request]") -> None:
        """Until it is its turn, or another has computed it."""
        if ticket.called.acquire(timeout=self._seconds):
            return
        with self._changing:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                raise Overloaded(
                    f"The prediction did not get its turn within {self._seconds:g} s: try again in a moment."
                )
        ticket.called.acquire()  # it is called just now

    def _take_turn(self, ticket: "_QueuedRequest[Request]") -> None:
        try:
            self._compute([one.work for one in ticket.together])
        except BaseException as error:  # noqa: BLE001 - raised again, to each of those that wait for it
            for one in ticket.together:
                one.error = error
        with self._changing:
            following = self._end(ticket)
        if following is not None:
            following.called.release()
        for one in ticket.together[1:]:
            one.called.release()

    def _begin(self, first: "_QueuedRequest[Request]", others: "list[_QueuedRequest[Request]]") -> None:
        first.together = [first, *others]
        if first.work.is_quick:
            self._busy.add(first.work.kind)

    def _end(self, ended: "_QueuedRequest[Request]") -> "_QueuedRequest[Request] | None":
        """Who has its turn next, if any of those that wait may begin."""
        self._busy.discard(ended.work.kind)
        following = next((ticket for ticket in self._waiting if ticket.work.kind not in self._busy), None)
        if following is None:
            self._free += 1
            return None
        self._waiting.remove(following)
        like = [ticket for ticket in self._waiting if ticket.work.kind == following.work.kind]
        share = len(like) if following.work.is_quick else len(like) // self._at_once
        others = like[: min(share, MAX_BATCH_SIZE - 1)]
        for ticket in others:
            self._waiting.remove(ticket)
        self._begin(following, others)
        return following


class _QueuedRequest(Generic[Request]):
    """`called` is released when it has its turn, and then it has to compute `together`, or when it was computed."""

    __slots__ = ("called", "error", "together", "work")

    def __init__(self, work: Request) -> None:
        self.work = work
        self.called = threading.Lock()
        self.together: list[_QueuedRequest[Request]] = []
        self.error: BaseException | None = None
