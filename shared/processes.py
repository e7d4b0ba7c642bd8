"""Ending with the process that started us, however it ended."""

import ctypes
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """On Linux the kernel sees to it; elsewhere a child of a killed parent lives on until its pipe breaks."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(by))
