"""Run the tasks of a worker in threads, and wake the event loop of Celery when one ends."""

import os
from collections.abc import Callable
from typing import Any

from celery.concurrency.thread import TaskPool
from kombu.asynchronous import Hub


class SlotPool(TaskPool):
    """A pool of threads for a worker that takes no message while all of its slots are busy.

    The event loop finds out about a free slot only when it wakes up. Without this pool, that is up to a second later.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of Celery
        super().__init__(*args, **kwargs)
        self._woken, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def register_with_event_loop(self, loop: Hub) -> None:
        """Let the loop wait for the end of tasks too. Celery calls this at each start of the loop."""
        loop.add_reader(self._woken, self._forget)

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Run a task in a thread."""
        result = super().on_apply(target, *args, **options)
        result.f.add_done_callback(lambda _: os.write(self._waking, b"."))
        return result

    def _forget(self) -> None:
        os.read(self._woken, 2**16)
