"""`make bench`: what the service costs beside what it does. Each figure and its yardstick come from the same run."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local.client import follow_job
from tests.e2e.clients import await_end, await_status, submit, submit_recipe
from tests.e2e.stacks import ROOT, LocalStack, datasets_dir, local_stack
from tests.examples import DIGITS

TRAININGS = {"digits-cnn": None, "mnist-cnn": "mnist.npz"}
"""Each with the file it needs."""
LATENCY_JOBS = 20
IMPORTS = 5
MIB = 2**20


def main() -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # for the bare script, as the worker has it
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    measure_import()
    with tempfile.TemporaryDirectory() as folder, local_stack(Path(folder)) as stack:
        await_end(stack.http, submit(stack.http, DIGITS))  # from now on every process is there, and idle
        measure_memory(stack)
        measure_latency(stack)
        for recipe, file in TRAININGS.items():
            if file is None or (datasets_dir() / file).exists():
                measure_training(stack, recipe)
            else:
                print(f"{recipe}: not measured, {datasets_dir() / file} is not there")


def measure_import() -> None:
    ours, flask = (
        statistics.median(_cpu_of_import(module) for _ in range(IMPORTS)) for module in ("api.wsgi", "flask")
    )
    print(f"import api.wsgi: {ours:.2f} CPU seconds, {ours / flask:.1f} × import flask")


def measure_memory(stack: LocalStack) -> None:
    """Of each idle process, what is in memory and what of that is its own alone; parents before their children."""
    for program in LocalStack.WORDS:
        parent = stack.program(program)
        for process in (parent, *parent.children(recursive=True)):
            memory = process.memory_full_info()
            print(f"idle {program}: {memory.rss / MIB:.0f} MiB, {memory.uss / MIB:.0f} of them its own")


def measure_latency(stack: LocalStack) -> None:
    """From before the POST until an idle worker has the job `running`."""
    seconds = []
    for _ in range(LATENCY_JOBS):
        posted = time.monotonic()
        job = submit(stack.http, DIGITS)
        await_status(stack.http, job, "running", "succeeded")
        seconds.append(time.monotonic() - posted)
        await_end(stack.http, job)
    print(f"POST to running: median {statistics.median(seconds) * 1000:.0f} ms, longest {max(seconds) * 1000:.0f} ms")


def measure_training(stack: LocalStack, recipe: str) -> None:
    """All processes of the service, from before the POST until the version is there, against a script's own fit."""
    before = _cpu_seconds(stack)
    *_, job = follow_job(stack.http, submit_recipe(stack.http, recipe))  # seldom, for each look costs CPU as well
    service = _cpu_seconds(stack) - before
    assert job["status"] == "succeeded", job["error"]
    command = [sys.executable, "-m", "tests.benchmarks.bare_fit", recipe]
    bare = float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split()[-1])
    print(f"{recipe}: {service:.1f} CPU seconds through the service, {bare:.1f} by a bare fit: {service / bare:.3f} ×")


def _cpu_of_import(module: str) -> float:
    command = f"import time, {module}; print(time.process_time())"
    return float(subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, check=True).stdout)


def _cpu_seconds(stack: LocalStack) -> float:
    times = [process.cpu_times() for process in stack.processes()]
    return sum(time.user + time.system for time in times)


if __name__ == "__main__":
    main()
