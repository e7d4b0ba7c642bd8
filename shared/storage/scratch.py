"""Manage the temporary folders of processes. The files of a killed process are deleted by its successor."""

import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


class Scratch:
    """The temporary folder of a worker or of the API, with a folder for each of its processes in it.

    The parent process locks it. A folder without a lock belongs to a program that has ended, and can be deleted.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = folder / name
        self._lock = FileLock(folder / f"{name}{LOCK}", is_singleton=False)

    def open(self) -> None:
        """Create and lock the folder, and delete those of ended programs. Call it in the parent before a fork."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for lock in self._folder.glob(f"*{LOCK}"):
            try:
                with FileLock(lock, timeout=0, is_singleton=False):
                    shutil.rmtree(self._folder / lock.name.removesuffix(LOCK), ignore_errors=True)
                    lock.unlink(missing_ok=True)
            except Timeout:  # its program still runs
                continue
        self._lock.acquire()
        self._own.mkdir()

    def enter(self, process: str = "main") -> None:
        """Make a new folder the `tempfile.tempdir` of this process, in place of that of its predecessor."""
        own = self._own / process
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        tempfile.tempdir = str(own)

    def close(self) -> None:
        """Delete the folder and its lock. Call it in the parent, after its other processes have ended."""
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
