"""Test what the input of a training does to its process."""

import subprocess
import sys

import pytest

COUNT_MAPPED_BLOCKS = """
import ctypes
import numpy as np
from shared.preprocessing.normalisation import Normalisation
from worker.training.input.pipeline import make_training_batches

x, y = np.zeros((8, 2), np.float32), np.zeros(8, np.int64)
batches = make_training_batches(x, [y], Normalisation(), 4, 1, 2, lambda epoch: np.arange(8))
assert len(list(batches)) == 4

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", *"abcdef")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Heap
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(30 * 2**20))  # glibc then keeps blocks up to this size
before = libc.mallinfo2().hblks
block = libc.malloc(29 * 2**20)
print(libc.mallinfo2().hblks - before)
"""
"""Print how many blocks of 29 MiB malloc maps, of one, after an epoch was read."""


@pytest.mark.skipif(sys.platform != "linux", reason="mallinfo2 is a function of glibc")
def test_the_heap_keeps_the_memory_of_a_step() -> None:
    """tf.data's `from_generator` would change that, and each step would map and unmap its tensors anew."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_MAPPED_BLOCKS], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.split()[-1] == "0"
