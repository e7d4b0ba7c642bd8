"""Check before a training whether the memory is large enough, so that the kernel does not kill the process."""

import math
from pathlib import Path

import keras
import psutil

from shared.errors import OutOfMemory

FLOAT_BYTES = 4
COPIES_OF_PARAMETERS = 3  # the weights, their gradients, and one state variable of the optimizer
GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


def check_memory(network: keras.Model, batch_size: int, available_bytes: int) -> None:
    """Check that the memory is large enough for one training step. Raises OutOfMemory.

    The estimate is a lower bound: it counts the parameters, and the outputs of all layers for one batch.
    """
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in network.layers)
    needed = FLOAT_BYTES * (network.count_params() * COPIES_OF_PARAMETERS + batch_size * outputs)
    if needed > available_bytes:
        raise OutOfMemory(
            f"One training step needs at least {needed / GIB:.1f} GiB, and {available_bytes / GIB:.1f} GiB of memory "
            f"are available. Decrease `batch_size` ({batch_size}), or use a network with fewer parameters "
            f"({network.count_params():,}) or smaller layer outputs ({outputs:,} values for each input)."
        )


def get_available_bytes() -> int:
    """Return the available memory of the machine, or of its container (cgroup v2) if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # not a container with cgroup v2
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))
