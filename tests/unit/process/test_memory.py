import resource

import numpy as np

from worker.process.memory import trim_memory


def test_what_a_job_took_at_its_peak_is_forgotten() -> None:
    large = np.ones(40_000_000)
    before = peak_mib()
    del large

    trim_memory()

    assert peak_mib() < before - 200


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
