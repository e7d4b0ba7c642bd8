"""Inject faults of random kinds at random times, determined by a seed."""

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
DISK_FULL_SECONDS = (1.0, 5.0)
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
    """A number of faults and their repairs. Each call of `step` does those that are due: call it repeatedly."""

    def __init__(self, seed: int, count: int, stack: ChaosStack) -> None:
        self._random = random.Random(seed)
        self._stack = stack
        self._left = count
        self._next_at = time.monotonic()
        self._repairs: list[tuple[float, Callable[[], bool]]] = []
        self.done: Counter[str] = Counter()

    @property
    def over(self) -> bool:
        """Return True when all faults are injected and repaired."""
        return self._left == 0 and not self._repairs

    def step(self) -> None:
        now = time.monotonic()
        due = [repair for at, repair in self._repairs if at <= now]
        self._repairs = [(at, repair) for at, repair in self._repairs if at > now]
        self._repairs += [(now + 0.5, repair) for repair in due if not repair()]
        if self._left and now >= self._next_at:
            self._next_at = now + self._random.uniform(*SECONDS_BETWEEN_FAULTS)
            kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if self._inject(kind):
                self.done[kind] += 1
                self._left -= 1

    def repair_all(self) -> None:
        while self._repairs:
            self._repairs = [(at, repair) for at, repair in self._repairs if not repair()]

    def _inject(self, kind: str) -> bool:
        """Inject a fault. Returns False if there is no process or disk to apply it to."""
        action, _, target = kind.partition(" ")
        match kind:
            case "fill disk":
                return self._fill_disk()
            case "kill database":
                return self._kill_database()
        process = self._process(target.removesuffix(" gently"))
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            if action == "freeze":
                return self._freeze(process)
            process.send_signal(signal.SIGTERM if action == "end" else signal.SIGKILL)
            return True
        return False

    def _process(self, target: str) -> psutil.Process | None:
        match target:
            case "training process":
                return self._stack.training_process(self._random.choice(WORKERS))
            case "worker":
                return self._stack.process(self._random.choice(WORKERS))
            case "api":
                return self._stack.process(self._random.choice(APIS))
        return self._stack.process(target)

    def _freeze(self, process: psutil.Process) -> bool:
        def resume_process() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
            return True

        process.suspend()
        self._schedule_repair(resume_process, FROZEN_SECONDS)
        return True

    def _fill_disk(self) -> bool:
        def remove_filler() -> bool:
            self._stack.empty_disk()
            return True

        if not self._stack.can_fill_disk:
            return False
        self._stack.fill_disk()
        self._schedule_repair(remove_filler, DISK_FULL_SECONDS)
        return True

    def _kill_database(self) -> bool:
        if self._stack.start_database in [repair for _, repair in self._repairs]:
            return False
        self._stack.kill_database()
        self._schedule_repair(self._stack.start_database, DATABASE_DOWN_SECONDS)
        return True

    def _schedule_repair(self, repair: Callable[[], bool], seconds: tuple[float, float]) -> None:
        """Schedule a repair. It is called again until it returns True."""
        self._repairs.append((time.monotonic() + self._random.uniform(*seconds), repair))


def told_by_kind(done: Counter[str]) -> Iterator[str]:
    """Format the number of faults of each kind."""
    for kind in sorted(done):
        yield f"{kind} {done[kind]}"
