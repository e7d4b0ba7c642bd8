"""Keep a reserve of free space on the disk, so that what runs can end well."""

import shutil
from pathlib import Path

from shared.errors import DiskFull


class DiskReserve:
    """The free space of the disk of a folder, of which `min_free_bytes` are kept for what runs already."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def count_free_bytes(self) -> int:
        """Return the free bytes of the disk. Raises OSError."""
        existing = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def check(self) -> None:
        """Check that there is more free space than the reserve. Raises DiskFull or OSError."""
        free = self.count_free_bytes()
        if free < self._min_free_bytes:
            raise DiskFull(
                f"The disk is full: {free:,} bytes are free, and {self._min_free_bytes:,} are kept for jobs that run "
                "(TRAINYARD_RESERVED_DISK_BYTES). Delete versions or files, or add space."
            )
