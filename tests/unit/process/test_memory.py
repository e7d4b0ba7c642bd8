import resource

import numpy as np

from worker.process.memory import trim_memory


def test_trim_memory_lowers_the_peak_resident_memory() -> None:
    large = np.ones(40_000_000)
    before = read_peak_mib()
    del large

    trim_memory()

    assert read_peak_mib() < before - 200


def read_peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
