"""Measure the cost of the service relative to the same work without it (`make bench`).

Each figure and its reference come from the same run.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from local.client import follow_job
from tests.benchmarks.access import measure_access
from tests.benchmarks.serving import measure_serving
from tests.support.clients import await_end, await_status, submit
from tests.support.examples import DIGITS, IRIS, Json
from tests.support.stacks import ROOT, LocalStack, datasets_dir, local_stack

TRAININGS = {
    "digits-cnn": (20, None),
    "mnist-mlp": (2, "mnist.npz"),
    "fashion-relu": (2, "fashion_mnist.npz"),
    "mnist-cnn": (1, "mnist.npz"),
    "cifar10-cnn": (1, "cifar10.npz"),
}
"""Recipe: number of epochs, and the file of the data set if it must be downloaded."""
PAIRS = 5
LATENCY_JOBS = 60
LARGE_JOB = "cifar10-cnn"
JOBS_BETWEEN_LARGE = 15
IMPORTS = 5
OVERHEAD_RUNS = 3
OVERHEAD_EPOCHS = 3
MIB = 2**20
CPU_FIELDS = 4
"""The first fields of `cpu_times`: user and system time of the process and of its ended children."""
IDLE_CPU_SECONDS = 0.1
"""CPU seconds in one second below which the service counts as idle."""


class Cost(NamedTuple):
    cpu_seconds: float
    seconds: float


def main() -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the worker sets it; the script `bare_fit` does not
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    measure_import()
    measure_overhead()
    with tempfile.TemporaryDirectory() as folder, local_stack(Path(folder)) as stack:
        await_end(stack.http, submit(stack.http, DIGITS))  # after this job every process has started and is idle
        measure_memory(stack)
        measure_latency(stack)
        measure_serving(stack)
        for recipe, (epochs, file) in TRAININGS.items():
            if file is None or (datasets_dir() / file).exists():
                measure_training(stack, recipe, epochs)
            else:
                print(f"{recipe}: not measured, {datasets_dir() / file} does not exist")
    measure_access()


def measure_import() -> None:
    service, flask = (
        statistics.median(_measure_import(module) for _ in range(IMPORTS)) for module in ("api.wsgi", "flask")
    )
    print(f"import api.wsgi: {service:.2f} CPU seconds, {service / flask:.1f} × import flask")


def measure_overhead() -> None:
    """Print the CPU time that lease, progress and checkpoints add to a training.

    The two kinds of run alternate because the speed of the machine varies.
    """
    if not (datasets_dir() / "mnist.npz").exists():
        print(f"overhead: not measured, {datasets_dir() / 'mnist.npz'} does not exist")
        return
    costs: dict[str, list[float]] = {"watched": [], "alone": []}
    for _ in range(OVERHEAD_RUNS):
        for how, seconds in costs.items():
            command = [sys.executable, "-m", "tests.benchmarks.watched_fit", "mnist-cnn", str(OVERHEAD_EPOCHS), how]
            environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}  # as in a worker
            answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
            seconds.append(float(answer.split()[-1]))
    watched, alone = (statistics.median(seconds) for seconds in costs.values())
    print(f"lease, progress and checkpoints: {watched:.1f} CPU seconds, {watched / alone:.3f} × the training alone")


def measure_memory(stack: LocalStack) -> None:
    """Print resident (RSS) and unshared (USS) memory of each idle process, parents before their children."""
    for program in LocalStack.WORDS:
        parent = stack.program(program)
        for process in (parent, *parent.children(recursive=True)):
            memory = process.memory_full_info()
            print(f"idle {program}: {memory.rss / MIB:.0f} MiB, {memory.uss / MIB:.0f} of them its own")


def measure_latency(stack: LocalStack) -> None:
    """Print the time from before the POST until an idle worker has set the job to `running`.

    The jobs run one after another. Every JOBS_BETWEEN_LARGE-th is large, if its data set is here.
    """
    large = _read_recipe(LARGE_JOB, 1) if (datasets_dir() / "cifar10.npz").exists() else DIGITS
    seconds = []
    for number in range(LATENCY_JOBS):
        spec = large if number % JOBS_BETWEEN_LARGE == 0 else (DIGITS, IRIS)[number % 2]
        posted = time.monotonic()
        job = submit(stack.http, spec)
        await_status(stack.http, job, "running", "succeeded")
        seconds.append(time.monotonic() - posted)
        *_, ended = follow_job(stack.http, job)
        assert ended["status"] == "succeeded", ended["error"]
    *_, p99 = statistics.quantiles(seconds, n=100, method="inclusive")
    median, longest = statistics.median(seconds), max(seconds)
    print(f"POST to running: median {median * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, longest {longest * 1000:.0f} ms")


def measure_training(stack: LocalStack, recipe: str, epochs: int) -> None:
    """Print the time of the service from before the POST until the version is published, relative to a plain script.

    The two alternate. The ratios are those of the pairs: their median, the lowest and the highest.
    """
    command = [sys.executable, "-m", "tests.benchmarks.bare_fit", recipe, str(epochs)]
    pairs = []
    for _ in range(PAIRS):
        service = _train(stack, _read_recipe(recipe, epochs))
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split()
        pairs.append((service, Cost(*(float(figure) for figure in answer[-2:]))))
    for place, name in enumerate(("CPU seconds", "s by the clock")):
        ratios = sorted(service[place] / notebook[place] for service, notebook in pairs)
        median = statistics.median(service[place] for service, _ in pairs)
        print(
            f"{recipe}, {epochs} epochs: {median:.1f} {name}, {statistics.median(ratios):.2f} × the notebook "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f} in {PAIRS} pairs; load {os.getloadavg()[0]:.1f})"
        )


def _read_recipe(name: str, epochs: int) -> Json:
    spec: Json = YAML(typ="safe").load((ROOT / "recipes" / f"{name}.yaml").read_text())
    spec["training"]["epochs"] = epochs
    return spec


def _train(stack: LocalStack, spec: Json) -> Cost:
    """Train a job and return its cost."""
    _await_idle(stack)
    before, posted_at = _cpu_seconds(stack), time.monotonic()
    *_, job = follow_job(stack.http, submit(stack.http, spec))  # asks rarely: each request costs CPU time too
    cost = Cost(_cpu_seconds(stack) - before, time.monotonic() - posted_at)
    assert job["status"] == "succeeded", job["error"]
    return cost


def _measure_import(module: str) -> float:
    command = f"import time, {module}; print(time.process_time())"
    return float(subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, check=True).stdout)


def _cpu_seconds(stack: LocalStack) -> float:
    """Return the CPU time of the current processes and of those that they replaced."""
    return sum(sum(process.cpu_times()[:CPU_FIELDS]) for process in stack.processes())


def _await_idle(stack: LocalStack) -> None:
    """Wait until the service is idle. A training process that replaces another imports TensorFlow first."""
    before = _cpu_seconds(stack)
    while True:
        time.sleep(1)
        now = _cpu_seconds(stack)
        if now - before < IDLE_CPU_SECONDS:
            return
        before = now


if __name__ == "__main__":
    main()
