"""Choose the precision of a training: float32, or mixed precision if the device computes faster with it.

The weights are float32 in both cases. Evaluation and export after the training use only float32.

Before a long training, some steps are timed: a CPU with instructions for bfloat16 can save processor time with them and
still take longer.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from shared.spec.training import Precision
from worker.training.batch_norm import fuse_batch_normalisations

logger = logging.getLogger(__name__)

MIN_PRODUCTS = 100_000_000
"""Multiplications in one step. Below this number, the conversions take more time than the shorter type saves."""
MIN_TRIED_PRODUCTS = 10_000_000_000_000
"""Multiplications of the forward passes of a training that is worth a trial: some minutes on two cores.

A trial takes eight steps of a heavy network, more of a light one, and the time to trace two of them.
"""
TRIED_ROUNDS = 3
ROUND_SECONDS = 0.1
MAX_ROUND_STEPS = 10
MIN_GAIN = 0.03
"""Mixed_bfloat16 is used if its steps are faster by this share."""
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


def is_worth_a_trial(network: keras.Model, rows: int) -> bool:
    """Return whether a training that reads `rows` rows, over all epochs, lasts much longer than a trial."""
    return count_products(network) * rows >= MIN_TRIED_PRODUCTS


def try_precisions(network: keras.Model, batch: tuple[tf.Tensor, ...], device: str) -> Precision:
    """Time training steps in float32 and in mixed_bfloat16, and return the precision to train in.

    `batch` is what `train_step` takes, of the size of the training. `device` is TensorFlow's name of the device. The
    network, with its state and that of the optimizer, is afterwards as it was before.
    """
    variables = [*network.variables, *network.optimizer.variables]
    usual = [tf.identity(variable.value) for variable in variables]
    steps = {
        precision: _trace_step(network, batch, precision, device)
        for precision in (Precision.FLOAT32, Precision.MIXED_BFLOAT16)
    }
    seconds = dict.fromkeys(steps, math.inf)
    count = 1
    for _ in range(TRIED_ROUNDS):
        for precision, step in steps.items():  # in turn: other work on the machine slows both
            seconds[precision] = min(seconds[precision], _time_steps(step, count))
        count = max(1, min(MAX_ROUND_STEPS, int(ROUND_SECONDS / min(seconds.values()))))
    for variable, value in zip(variables, usual, strict=True):
        variable.assign(value)
    network.reset_metrics()
    wide, short = seconds[Precision.FLOAT32], seconds[Precision.MIXED_BFLOAT16]
    chosen = Precision.MIXED_BFLOAT16 if short * (1 + MIN_GAIN) < wide else Precision.FLOAT32
    logger.info("a step takes %.4f s in float32 and %.4f s in mixed_bfloat16: %s is used", wide, short, chosen)
    return chosen


def _trace_step(
    network: keras.Model, batch: tuple[tf.Tensor, ...], precision: Precision, device: str
) -> Callable[[], object]:
    """Return a function that runs a training step, which has been run once."""

    @tf.function(autograph=False, jit_compile=network.jit_compile)  # type: ignore[untyped-decorator]
    def step() -> dict[str, tf.Tensor]:
        return network.train_step(batch)  # type: ignore[no-any-return]

    with compute_in(network, precision), fuse_batch_normalisations(network, device):
        step()
    return step  # type: ignore[no-any-return]


def _time_steps(step: Callable[[], object], count: int) -> float:
    """Return the seconds of a step, the mean of `count` steps."""
    began = time.perf_counter()
    for _ in range(count):
        keras.tree.map_structure(lambda value: value.numpy(), step())  # waits for the device
    return (time.perf_counter() - began) / count


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
