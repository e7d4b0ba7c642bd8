"""Measure the memory of the machine, and free that of a training process between two jobs."""

import gc
from pathlib import Path

import psutil

from shared.system import trim_heap

MAX_PROCESS_BYTES = 1_000_000 * 1024
"""A process that holds more between two jobs is replaced. TensorFlow never frees some megabytes of each network."""
_CUSTOM_GRADIENT = "CustomGradient-"
_CGROUP = Path("/sys/fs/cgroup")


def trim_memory() -> None:
    """Free the memory of the last job, in a training process."""
    _forget_gradients()
    gc.collect()
    trim_heap()


def _forget_gradients() -> None:
    """Forget the custom gradients of graphs that are no longer used.

    TensorFlow registers the gradient of each traced function with a custom gradient until the process ends, and with it
    the whole graph: ten megabytes for each training.
    """
    from tensorflow.python.framework import ops  # the worker itself never imports TensorFlow

    known: dict[str, object] = ops.gradient_registry._registry  # noqa: SLF001 - nothing public removes an entry
    for name in [name for name in known if name.startswith(_CUSTOM_GRADIENT)]:
        del known[name]


def get_available_bytes() -> int:
    """Return the available memory of the machine, or of its container (cgroup v2) if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # not a container with cgroup v2
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))
