"""Limit the memory, the processor time and the priority of a child process."""

import math
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIORITY = 5
"""The nice value of a child process: the requests that its parent answers itself go first."""


class ProcessLimits:
    """The limits of this process. Make it before the first message: what is allocated until then is not counted."""

    def __init__(self) -> None:
        os.nice(PRIORITY)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._idle_bytes = 0
        self.measure()

    def measure(self) -> None:
        """Measure again what is not counted: after an import, when no message is answered."""
        self._idle_bytes = _read_data_bytes()

    @contextmanager
    def hold(self, max_bytes: int, max_cpu_seconds: int | None) -> Iterator[None]:
        """Limit the memory and the processor time inside a `with` block.

        With more memory, allocations raise MemoryError. After `max_cpu_seconds`, if any, the kernel ends the process.
        RLIMIT_DATA counts what is allocated; RLIMIT_AS would also count libraries and the unused rest of stacks.
        """
        if max_cpu_seconds is not None:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            used_seconds = math.ceil(usage.ru_utime + usage.ru_stime)
            resource.setrlimit(resource.RLIMIT_CPU, (used_seconds + max_cpu_seconds, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_DATA, (self._idle_bytes + max_bytes, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _read_data_bytes() -> int:
    """Return what this process has allocated, as RLIMIT_DATA counts it (proc_pid_status(5)); 0 except on Linux."""
    status = Path("/proc/self/status")
    found = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found is not None else 0
