"""Memory that was freed, and that the C library keeps all the same."""

import ctypes


def trim_heap() -> None:
    """Gives it back to the system, where the C library can: glibc can."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
