"""Test that a worker keeps its training processes: one for each slot, and a spare one."""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import worker.processes
from tests.support.waiting import wait_for
from worker.processes import TrainingProcesses

MUCH_MEMORY = 2**62
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from shared.system import end_with_parent
from shared.processes.child import open_answers
from shared.processes.messages import READY, Message, read_message, write_message

end_with_parent()
folder, number = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGTERM, lambda *_: (folder / f"told {number}").touch())
(folder / f"started {os.getpid()}").touch()
held = []
with open_answers() as answers:
    write_message(answers, READY)
    while (message := read_message(sys.stdin.buffer)) is not None:
        job = message.head.decode()
        (folder / f"{job} in {os.getpid()}").touch()
        if job.startswith("die"):
            os._exit(1)
        if job.startswith("grow"):
            held.append(b"x" * 300_000_000)
        while job.startswith("wait") and not (folder / "go").exists():
            time.sleep(0.01)
        write_message(answers, Message(b"ended"))
"""
"""A training process whose jobs are told by the name of the slot what they do."""

Make = Callable[..., TrainingProcesses]


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, lost: list[str]) -> Iterator[Make]:
    """Provide a function that starts the processes of a worker."""
    made = []

    def make(
        slots: int = 1,
        spare_memory_bytes: int = 0,
        program: str = PROGRAM,
        *,
        one_job_each: bool = False,
    ) -> TrainingProcesses:
        command = [sys.executable, "-c", program, str(tmp_path)]
        made.append(
            TrainingProcesses(command, slots, spare_memory_bytes, one_job_each=one_job_each, on_lost=lost.append)
        )
        made[-1].start()
        return made[-1]

    yield make
    for processes in made:
        processes.close()


def find_pids(folder: Path, words: str) -> list[int]:
    return [int(path.name.rpartition(" ")[2]) for path in folder.glob(f"{words} *")]


def count_running(processes: TrainingProcesses) -> int:
    return sum(process.child.pid is not None for process in processes._processes)


def count_ready(processes: TrainingProcesses) -> int:
    with processes._changing:
        return sum(processes._is_ready(process) for process in processes._processes)


def test_jobs_of_several_slots_run_at_the_same_time(make: Make, tmp_path: Path) -> None:
    processes = make(slots=2)

    with ThreadPoolExecutor(2) as threads:
        for slot in ("wait 1", "wait 2"):
            threads.submit(processes.run_job, slot, 0)
        wait_for(lambda: len(list(tmp_path.glob("wait *"))) == 2)
        (tmp_path / "go").touch()

    assert len({*find_pids(tmp_path, "wait 1 in"), *find_pids(tmp_path, "wait 2 in")}) == 2


def test_a_spare_process_takes_the_job_after_a_lost_one(make: Make, tmp_path: Path, lost: list[str]) -> None:
    processes = make()
    wait_for(lambda: count_ready(processes) == 2)
    ready = find_pids(tmp_path, "started")

    processes.run_job("die", 0)
    processes.run_job("next", 0)

    assert lost == ["die"]
    assert {*find_pids(tmp_path, "die in"), *find_pids(tmp_path, "next in")} == {*ready}
    wait_for(lambda: count_ready(processes) == 2)


def test_a_process_that_holds_much_memory_is_replaced_beside_the_next_job(
    make: Make, tmp_path: Path, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.processes, "MAX_PROCESS_BYTES", 200_000_000)
    monkeypatch.setattr(worker.processes, "REST_SECONDS", 0.0)
    processes = make()
    wait_for(lambda: count_ready(processes) == 2)

    with ThreadPoolExecutor(1) as threads:
        processes.run_job("grow", 0)
        threads.submit(processes.run_job, "wait", 0)
        wait_for(lambda: not psutil.pid_exists(*find_pids(tmp_path, "grow in")))
        wait_for(lambda: count_ready(processes) == 1)
        (tmp_path / "go").touch()

    assert len(find_pids(tmp_path, "started")) == 3
    assert lost == []


def test_there_is_no_spare_process_without_memory_for_it(make: Make, tmp_path: Path) -> None:
    processes = make(spare_memory_bytes=MUCH_MEMORY)

    processes.run_job("first", 0)
    processes.run_job("second", 0)

    assert find_pids(tmp_path, "first in") == find_pids(tmp_path, "second in") == find_pids(tmp_path, "started")


def test_the_spare_process_ends_when_memory_becomes_short(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = make(spare_memory_bytes=2**30)
    wait_for(lambda: count_ready(processes) == 2)

    monkeypatch.setattr(worker.processes, "get_available_bytes", lambda: 2**29)

    wait_for(lambda: count_running(processes) == 1)


def test_a_process_of_a_gpu_runs_one_job(make: Make, tmp_path: Path) -> None:
    processes = make(one_job_each=True)

    for job in ("first", "second", "third"):
        processes.run_job(job, 0)

    assert len({pid for job in ("first", "second", "third") for pid in find_pids(tmp_path, f"{job} in")}) == 3


def test_a_shutdown_is_told_to_all_processes_and_starts_none(make: Make, tmp_path: Path) -> None:
    processes = make()
    wait_for(lambda: count_ready(processes) == 2)

    processes.announce_shutdown()

    wait_for(lambda: len(list(tmp_path.glob("told *"))) == 2)
    processes.run_job("late", 0)
    assert find_pids(tmp_path, "late in") == []


def test_a_job_that_runs_at_the_shutdown_can_end(make: Make, tmp_path: Path, lost: list[str]) -> None:
    processes = make()

    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(processes.run_job, "wait", 0)
        wait_for(lambda: len(find_pids(tmp_path, "wait in")) == 1)
        processes.announce_shutdown()
        time.sleep(3 * worker.processes.KEEP_SECONDS)
        (tmp_path / "go").touch()

    assert ending.exception() is None
    assert lost == []


def test_a_process_that_does_not_start_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.processes, "PAUSE_SECONDS", 0.1)
    fails_once = "import sys; from pathlib import Path; Path(sys.argv[1], 'tried').touch(exist_ok=False)"
    works = (tmp_path / "tried").exists

    processes = make(program=f"{fails_once}; sys.exit(1)", spare_memory_bytes=MUCH_MEMORY)
    wait_for(works)
    processes._processes[0].child._command[2] = PROGRAM
    processes.run_job("first", 0)

    assert len(find_pids(tmp_path, "first in")) == 1
