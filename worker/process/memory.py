"""What a training process does between two jobs."""

import gc
from pathlib import Path

from shared.system import trim_heap

MAX_PROCESS_KIB = 1_000_000
"""Past which another process takes its place: TensorFlow and Keras keep some megabytes of every network for ever."""
_PEAK = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # proc_pid_clear_refs(5)


def trim_memory() -> None:
    """Gives back what a job no longer needs, and lets the process's peak be what it is now: Celery looks at that."""
    gc.collect()
    trim_heap()
    _PEAK.write_text(_FORGET_PEAK)
