"""Keep a reserve of free space on the disk, so that what runs can end well."""

import errno
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import DiskFull

WATCH_SECONDS = 0.5
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errors of a write to a full disk."""


class DiskReserve:
    """The free space of the disk of a folder, of which `min_free_bytes` are kept for what runs already."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self.min_free_bytes = min_free_bytes

    def count_free_bytes(self) -> int:
        """Return the free bytes of the disk. Raises OSError."""
        existing = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def check(self) -> None:
        """Check that there is more free space than the reserve. Raises DiskFull or OSError."""
        free = self.count_free_bytes()
        if free < self.min_free_bytes:
            raise DiskFull(
                f"The disk is full: {free:,} bytes are free, and {self.min_free_bytes:,} are kept for jobs that run "
                "(TRAINYARD_RESERVED_DISK_BYTES). Delete versions, jobs or data sets, or add space."
            )

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Check the free space each WATCH_SECONDS inside a `with` block, in the main thread of a process.

        Raises DiskFull or OSError inside of the block. The timer of the process must not be used for anything else.
        """

        def check(*_: object) -> None:
            self.check()

        before = signal.signal(signal.SIGALRM, check)
        signal.setitimer(signal.ITIMER_REAL, WATCH_SECONDS, WATCH_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
