"""Whether a training can fit this machine's memory at all, found out before the kernel does."""

import math
from pathlib import Path

import keras
import psutil

from shared.errors import OutOfMemory

FLOAT_BYTES = 4
COPIES_OF_PARAMETERS = 3  # the weights, their gradients, and one state of the optimizer
GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


def check_memory(network: keras.Model, batch_size: int, available_bytes: int) -> None:
    """Raises OutOfMemory when even the least a training step needs is not there."""
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in network.layers)
    needed = FLOAT_BYTES * (network.count_params() * COPIES_OF_PARAMETERS + batch_size * outputs)
    if needed > available_bytes:
        raise OutOfMemory(
            f"One step of this training needs at least {needed / GIB:.1f} GiB, and {available_bytes / GIB:.1f} GiB are "
            f"free: lower batch_size ({batch_size}), or build with fewer parameters ({network.count_params():,}) "
            f"or smaller outputs ({outputs:,} values for each input)."
        )


def get_available_bytes() -> int:
    """Of the machine, or of the container where that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # no such control group
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))
