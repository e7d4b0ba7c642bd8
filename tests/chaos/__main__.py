"""Inject faults into a running service while clients use it, then check its database and its files.

`make chaos SEED=7 FAULTS=200` kills and freezes processes and fills the disk. The last line of the output counts
faults, jobs and violations. The exit status is 1 if there is a violation.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from sqlalchemy import select

from shared.database.engine import make_engine, make_sessions
from shared.database.tables.jobs import ENDED, Job
from tests.chaos.clients import Client, Ledger
from tests.chaos.faults import Faults, told_by_kind
from tests.chaos.specs import SPECS
from tests.chaos.stack import ChaosStack, chaos_stack
from tests.chaos.verdict import violations
from tests.support.examples import Json

CLIENTS = 4
SECONDS_TO_START = 120.0
SECONDS_TO_TRAIN_TWINS = 240.0
SECONDS_TO_END_JOBS = 600.0
SECONDS_BETWEEN_STEPS = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="keep the data and the logs of all processes in this new folder")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # SystemExit ends all processes
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
        sys.exit(run(arguments.seed, arguments.faults, arguments.keep) > 0)
    with tempfile.TemporaryDirectory(prefix="trainyard-chaos-") as folder:
        sys.exit(run(arguments.seed, arguments.faults, Path(folder)) > 0)


def run(seed: int, count: int, folder: Path) -> int:
    """Inject `count` faults, print the violations and return their number."""
    with chaos_stack(folder) as stack:
        if not stack.can_fill_disk:
            print("Faults that fill the disk are left out: only root may mount a separate disk.")
        _await_ready(stack)
        twins = _train_twins(stack)
        ledger, ended = Ledger(), threading.Event()
        clients = [Client(f"{seed}-{n}", list(stack.ports.values()), ledger, ended) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        faults = Faults(seed, count, stack)
        while not faults.over:
            stack.keep_running()
            faults.step()
            time.sleep(SECONDS_BETWEEN_STEPS)
        faults.repair_all()
        ended.set()
        _await_end_of_jobs(stack)
        for client in clients:
            client.join()
        engine = make_engine(stack.database_url)
        found = violations(ledger, make_sessions(engine), stack.artifacts, twins)
        engine.dispose()
    for violation in found:
        print(violation)
    kinds = ", ".join(told_by_kind(faults.done))
    print(f"{sum(faults.done.values())} faults ({kinds}), {len(ledger.told)} jobs, {len(found)} violations")
    return len(found)


def _await_ready(stack: ChaosStack) -> None:
    def is_ready(port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready").is_success
        except httpx.TransportError:
            return False

    _run_until(stack, lambda: all(is_ready(port) for port in stack.ports.values()), SECONDS_TO_START)


def _train_twins(stack: ChaosStack) -> dict[str, str]:
    """Train each spec without faults and return the digest of its weights."""
    address = f"http://127.0.0.1:{next(iter(stack.ports.values()))}/api/v1"
    jobs = {name: httpx.post(f"{address}/jobs", json=spec, timeout=60).json() for name, spec in SPECS.items()}

    def show(job: Json) -> Json:
        shown: Json = httpx.get(f"{address}/jobs/{job['id']}", timeout=60).json()
        return shown

    _run_until(stack, lambda: all(show(job)["status"] in ENDED for job in jobs.values()), SECONDS_TO_TRAIN_TWINS)
    versions = {name: f"{address}/models/{job['model']}/versions/{show(job)['version']}" for name, job in jobs.items()}
    return {name: httpx.get(version).raise_for_status().json()["weights_digest"] for name, version in versions.items()}


def _await_end_of_jobs(stack: ChaosStack) -> None:
    """Wait until every job has ended, without faults. The checks report the jobs that have not ended in time."""
    engine = make_engine(stack.database_url)
    sessions = make_sessions(engine)

    def have_all_ended() -> bool:
        with sessions() as session:
            return session.scalar(select(Job.id).where(Job.status.not_in(ENDED)).limit(1)) is None

    with contextlib.suppress(TimeoutError):
        _run_until(stack, have_all_ended, SECONDS_TO_END_JOBS)
    engine.dispose()


def _run_until(stack: ChaosStack, condition: Callable[[], bool], seconds: float) -> None:
    """Keep all programs running until the condition holds. Raises TimeoutError after `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"the condition was not met within {seconds:g} seconds")
        stack.keep_running()
        time.sleep(SECONDS_BETWEEN_STEPS)


if __name__ == "__main__":
    main()
