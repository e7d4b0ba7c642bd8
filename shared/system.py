"""Call the C library and the kernel: give memory back, and end with the parent process."""

import ctypes
import signal
import sys

_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""
_libc = ctypes.CDLL(None)


def limit_arenas(threads: int) -> None:
    """So many may allocate at a time. A process of many threads would have eight heaps for each processor, and each
    would keep what its largest request took.
    """
    if hasattr(_libc, "malloc_trim"):
        _libc.mallopt(_ARENA_MAX, threads)


def trim_heap() -> None:
    """Gives it back to the system."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """On Linux the kernel sees to it; elsewhere a child of a killed parent lives on until its pipe breaks."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(by))
