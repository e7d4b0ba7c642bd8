"""Limit the memory of a training process, and free memory between two jobs."""

import gc
from pathlib import Path

from shared.system import trim_heap

MAX_PROCESS_KIB = 1_000_000
"""Celery replaces a process with a higher peak. TensorFlow and Keras never free some megabytes of each network."""
_PEAK = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # proc_pid_clear_refs(5)


def trim_memory() -> None:
    """Free the memory of the last job, and reset the peak memory of the process.

    Celery compares the peak with MAX_PROCESS_KIB.
    """
    gc.collect()
    trim_heap()
    _PEAK.write_text(_FORGET_PEAK)
