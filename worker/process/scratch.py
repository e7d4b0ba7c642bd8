"""Where a training process keeps what it works on. One that is killed cannot clean up: the next one does it."""

import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


class Scratch:
    """A folder for each worker, locked for as long as its parent lives, and in it one for each training process."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._folder = folder
        self._own = folder / worker
        self._lock = FileLock(folder / f"{worker}{LOCK}", is_singleton=False)

    def open(self) -> None:
        """To be called by the parent, before it has children: removes what dead workers left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for lock in self._folder.glob(f"*{LOCK}"):
            try:
                with FileLock(lock, timeout=0, is_singleton=False):
                    shutil.rmtree(self._folder / lock.name.removesuffix(LOCK), ignore_errors=True)
                    lock.unlink(missing_ok=True)
            except Timeout:  # that worker lives
                continue
        self._lock.acquire()
        self._own.mkdir()

    def enter(self) -> None:
        """To be called by a training process: its temporary files go here, and those of the one before it go."""
        for left in self._own.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        own = self._own / str(os.getpid())
        own.mkdir()
        tempfile.tempdir = str(own)

    def close(self) -> None:
        """To be called by the parent, once its children are gone."""
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
