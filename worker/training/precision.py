"""Choose the precision of a training: float32, or mixed precision if the device computes faster with it.

The weights are float32 in both cases. Evaluation and export after the training use only float32.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from shared.spec.training import Precision

MIN_PRODUCTS = 100_000_000
"""Multiplications in one step. Below this number, the conversions take more time than the shorter type saves."""
FAST_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags in /proc/cpuinfo of CPUs that compute with bfloat16."""
FAST_CAPABILITY = (8, 0)
"""CUDA compute capability of the first NVIDIA GPUs that compute with bfloat16."""
_CPU_INFO = Path("/proc/cpuinfo")


def choose_precision(asked: Precision, network: keras.Model, batch_size: int, device: str) -> Precision:
    """Return the precision of a training, and resolve `auto`. `device` is TensorFlow's name of the device.

    `auto` is mixed_bfloat16 only for images: a column of a table may need all digits of float32. A network with an
    Embedding layer also uses float32, because bfloat16 cannot represent every index above 256.
    """
    if asked is not Precision.AUTO:
        return asked
    of_images = len(network.input_shape) > 2  # noqa: PLR2004 - (batch, columns) are rows of numbers
    has_places = any(isinstance(layer, keras.layers.Embedding) for layer in network.layers)
    worth_it = count_products(network) * batch_size >= MIN_PRODUCTS
    if of_images and worth_it and not has_places and has_fast_bfloat16(device):
        return Precision.MIXED_BFLOAT16
    return Precision.FLOAT32


@contextmanager
def compute_in(network: keras.Model, precision: Precision) -> Iterator[None]:
    """Use `precision` in all layers before the last layer with weights, inside a `with` block.

    The last layer with weights and the layers after it use float32, because the loss needs precise outputs.
    """
    if precision is Precision.FLOAT32:
        yield
        return
    weighted = [index for index, layer in enumerate(network.layers) if layer.weights]
    before = network.layers[: weighted[-1] if weighted else 0]
    parts = [*before, *(layer.cell for layer in before if hasattr(layer, "cell"))]  # of recurrent layers
    usual = {part: part.dtype_policy for part in parts}
    try:
        for part in parts:
            part.dtype_policy = keras.DTypePolicy(precision)
        yield
    finally:
        for part, policy in usual.items():
            part.dtype_policy = policy


def count_products(network: keras.Model) -> int:
    """Count the multiplications of a forward pass for one input: weights of a kernel × positions of its output."""
    return sum(
        math.prod(weight.shape) * math.prod(layer.output.shape[1:-1])
        for layer in network.layers
        for weight in layer.weights
        if len(weight.shape) > 1
    )


def has_fast_bfloat16(device: str, cpu_info: Path = _CPU_INFO) -> bool:
    """Return whether the GPU, or the CPU, computes with bfloat16. `device` is TensorFlow's name of the device."""
    if device.startswith("/GPU"):
        gpu = tf.config.list_physical_devices("GPU")[0]
        return bool(tf.config.experimental.get_device_details(gpu).get("compute_capability", (0,)) >= FAST_CAPABILITY)
    if not cpu_info.exists():
        return False
    flags = next((line for line in cpu_info.read_text().splitlines() if line.startswith("flags")), "")
    return bool(FAST_FLAGS & set(flags.split()))
