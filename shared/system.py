"""Memory that was freed, and that the C library keeps all the same. What is said of glibc; others are left alone."""

import ctypes

_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""
_libc = ctypes.CDLL(None)


def share_heaps(threads: int) -> None:
    """So many may allocate at a time. A process of many threads would have eight heaps for each processor, and each
    would keep what its largest request took.
    """
    if hasattr(_libc, "malloc_trim"):
        _libc.mallopt(_ARENA_MAX, threads)


def trim_heap() -> None:
    """Gives it back to the system."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
