"""Test which files of a worker's caches are deleted."""

import os
import time
from pathlib import Path

from filelock import FileLock

from worker.maintenance.image_caches import clean_caches

HOUR = 3600.0


def write(path: Path, size: int, hours_ago: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    at = time.time() - hours_ago * HOUR
    os.utime(path, (at, at))
    return path


def test_the_least_recently_used_files_above_the_limit_are_deleted(tmp_path: Path) -> None:
    old = write(tmp_path / "prepared/old.npy", 100, 9)
    newer = write(tmp_path / "uploaded/newer", 100, 8)
    newest = write(tmp_path / "prepared/newest.npy", 100, 7)

    assert clean_caches(tmp_path, 250, HOUR) == 1
    assert [path.exists() for path in (old, newer, newest)] == [False, True, True]
    assert clean_caches(tmp_path, 250, HOUR) == 0


def test_files_in_use_are_kept_and_unfinished_ones_deleted(tmp_path: Path) -> None:
    recent = write(tmp_path / "prepared/recent.npy", 100, 0)
    locked = write(tmp_path / "prepared/locked.npy", 100, 9)
    left = write(tmp_path / "prepared/killed.partial", 100, 9)

    with FileLock(f"{locked}.lock"):
        assert clean_caches(tmp_path, 0, HOUR) == 1
    assert [path.exists() for path in (recent, locked, left)] == [True, True, False]
    assert clean_caches(tmp_path, 0, HOUR) == 1
    assert not locked.exists()


def test_without_caches_nothing_happens(tmp_path: Path) -> None:
    assert clean_caches(tmp_path, 0, 0) == 0
