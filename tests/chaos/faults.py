"""A plan of what breaks, and when, that follows from a seed."""

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil

from tests.chaos.stack import APIS, LEASE_SECONDS, WORKERS, ChaosStack

SECONDS_BETWEEN_FAULTS = (0.4, 2.2)
FROZEN_SECONDS = (LEASE_SECONDS + 1, LEASE_SECONDS + 4)
FULL_SECONDS = (1.0, 5.0)
DATABASE_DOWN_SECONDS = (0.2, 3.0)
WEIGHTS = {
    "kill training process": 5,
    "kill worker": 3,
    "kill scheduler": 2,
    "kill api": 3,
    "kill redis": 3,
    "kill database": 2,
    "end worker gently": 2,
    "freeze training process": 5,
    "freeze worker": 2,
    "freeze scheduler": 1,
    "freeze api": 2,
    "fill disk": 3,
}


class Faults:
    """`step` is to be called often; it does what is due."""

    def __init__(self, seed: int, count: int, stack: ChaosStack) -> None:
        self._random = random.Random(seed)
        self._stack = stack
        self._left = count
        self._next_at = time.monotonic()
        self._repairs: list[tuple[float, Callable[[], bool]]] = []
        self.done: Counter[str] = Counter()

    @property
    def over(self) -> bool:
        return self._left == 0 and not self._repairs

    def step(self) -> None:
        now = time.monotonic()
        due = [repair for at, repair in self._repairs if at <= now]
        self._repairs = [(at, repair) for at, repair in self._repairs if at > now]
        self._repairs += [(now + 0.5, repair) for repair in due if not repair()]
        if self._left and now >= self._next_at:
            self._next_at = now + self._random.uniform(*SECONDS_BETWEEN_FAULTS)
            kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if self._do(kind):
                self.done[kind] += 1
                self._left -= 1

    def repair_all(self) -> None:
        while self._repairs:
            self._repairs = [(at, repair) for at, repair in self._repairs if not repair()]

    def _do(self, kind: str) -> bool:
        """Whether there was anything to do it to."""
        how, _, what = kind.partition(" ")
        match kind:
            case "fill disk":
                return self._fill_disk()
            case "kill database":
                return self._kill_database()
        process = self._process(what.removesuffix(" gently"))
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            if how == "freeze":
                return self._freeze(process)
            process.send_signal(signal.SIGTERM if how == "end" else signal.SIGKILL)
            return True
        return False

    def _process(self, what: str) -> psutil.Process | None:
        match what:
            case "training process":
                return self._stack.training_process(self._random.choice(WORKERS))
            case "worker":
                return self._stack.process(self._random.choice(WORKERS))
            case "api":
                return self._stack.process(self._random.choice(APIS))
        return self._stack.process(what)

    def _freeze(self, process: psutil.Process) -> bool:
        def thaw() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
            return True

        process.suspend()
        self._later(thaw, FROZEN_SECONDS)
        return True

    def _fill_disk(self) -> bool:
        def empty() -> bool:
            self._stack.empty_disk()
            return True

        if not self._stack.can_fill_disk:
            return False
        self._stack.fill_disk()
        self._later(empty, FULL_SECONDS)
        return True

    def _kill_database(self) -> bool:
        if self._stack.start_database in [repair for _, repair in self._repairs]:
            return False
        self._stack.kill_database()
        self._later(self._stack.start_database, DATABASE_DOWN_SECONDS)
        return True

    def _later(self, repair: Callable[[], bool], seconds: tuple[float, float]) -> None:
        self._repairs.append((time.monotonic() + self._random.uniform(*seconds), repair))


def told_by_kind(done: Counter[str]) -> Iterator[str]:
    for kind in sorted(done):
        yield f"{kind} {done[kind]}"
