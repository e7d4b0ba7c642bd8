"""Check before a training whether the memory is large enough, so that the kernel does not kill the process."""

import math

import keras

from shared.errors import OutOfMemory

FLOAT_BYTES = 4
COPIES_OF_PARAMETERS = 3  # the weights, their gradients, and one state variable of the optimizer
GIB = 2**30


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
