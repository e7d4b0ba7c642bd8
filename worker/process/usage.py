"""Measure what a worker's machine uses: its processors, its memory and its GPUs."""

import csv
import io
import logging
import shutil
import subprocess
import threading
import time

import psutil

from shared.jobs.workers import GpuUsage, Usage

logger = logging.getLogger(__name__)

MEBIBYTE = 2**20
QUERY = ("nvidia-smi", "--query-gpu=name,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
TIMEOUT_SECONDS = 5.0
GPU_SECONDS = 10.0


class UsageMeter:
    """Measures the usage of the machine. A thread asks for that of the GPUs, which can take a second."""

    def __init__(self) -> None:
        self._gpus: tuple[GpuUsage, ...] = ()

    def start(self) -> None:
        """Start the thread, if the machine has a driver of NVIDIA."""
        if shutil.which(QUERY[0]):
            threading.Thread(target=self._watch_gpus, name="gpu-usage", daemon=True).start()

    def measure(self) -> Usage:
        """Return the usage now; that of the processors since the last call."""
        memory = psutil.virtual_memory()
        return Usage(
            cpu_percent=psutil.cpu_percent(),
            cpus=psutil.cpu_count() or 1,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            gpus=self._gpus,
        )

    def _watch_gpus(self) -> None:
        while True:
            self._gpus = _measure_gpus()
            time.sleep(GPU_SECONDS)


def _measure_gpus() -> tuple[GpuUsage, ...]:
    """Return the usage of each NVIDIA GPU; none if the driver does not answer."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True).stdout
        return parse_gpus(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.debug("the usage of the GPUs is not known: %s", error)
        return ()


def parse_gpus(answer: str) -> tuple[GpuUsage, ...]:
    """Parse the answer of QUERY. Raises ValueError for another one."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(answer)) if row]
    return tuple(
        GpuUsage(
            name=name, percent=float(percent), memory_used=int(used) * MEBIBYTE, memory_total=int(total) * MEBIBYTE
        )
        for name, percent, used, total in rows
    )
