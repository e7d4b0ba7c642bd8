import numpy as np
import psutil

from worker.process.memory import trim_memory


def test_trim_memory_returns_the_memory_of_small_objects() -> None:
    many = [np.ones(1000) for _ in range(40_000)]
    before = read_resident_mib()
    del many

    trim_memory()

    assert read_resident_mib() < before - 200


def read_resident_mib() -> int:
    return int(psutil.Process().memory_info().rss) // 2**20
