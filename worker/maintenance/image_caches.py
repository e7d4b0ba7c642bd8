"""Delete prepared images and copies of uploaded data sets that take too much space, the least recently used first."""

import contextlib
import logging
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

FOLDERS = ("prepared", "uploaded")
LOCK, UNFINISHED = ".lock", ".partial"
MIN_UNUSED_SECONDS = 24 * 3600.0
"""Files that were used in this time are kept: a job opens its files again."""


def clean_caches(cache_dir: Path, max_bytes: int, min_unused_seconds: float = MIN_UNUSED_SECONDS) -> int:
    """Delete files of the caches: unfinished ones, and the least recently used ones above `max_bytes`.

    A file that was used in the last `min_unused_seconds` is kept. Returns the number of deleted files.
    """
    files = [(status.st_mtime, status.st_size, path) for path, status in _list_files(cache_dir)]
    left, deleted, late = sum(size for _, size, _ in files), 0, time.time() - min_unused_seconds
    for used_at, size, path in sorted(files):
        is_surplus = path.suffix == UNFINISHED or left > max_bytes
        if used_at < late and is_surplus and _delete(path, late):
            left -= size
            deleted += 1
    if deleted:
        logger.info("%d files of the caches deleted", deleted)
    return deleted


def _list_files(cache_dir: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in (path for name in FOLDERS for path in (cache_dir / name).glob("*") if path.suffix != LOCK):
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat()))
    return found


def _delete(path: Path, late: float) -> bool:
    """Delete a file, unless it is prepared or used now. Its lock stays: another process can wait for it."""
    try:
        with FileLock(f"{path.with_suffix('.npy') if path.suffix == UNFINISHED else path}{LOCK}", timeout=0):
            if path.stat().st_mtime >= late:  # used since the list was made
                return False
            path.unlink()
    except (Timeout, FileNotFoundError):
        return False
    return True
