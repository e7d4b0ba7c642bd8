import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.program import Program
from tests.support.waiting import wait_for

SPAWN_CHILD_SCRIPT = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pids"


@pytest.fixture
def program(pid_file: Path, tmp_path: Path) -> Iterator[Program]:
    program = Program("sleeper", [sys.executable, "-c", SPAWN_CHILD_SCRIPT, str(pid_file)], tmp_path, tmp_path)
    yield program
    program.end(0)


def read_pids(pid_file: Path) -> tuple[int, int]:
    wait_for(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    parent, child = pid_file.read_text().split()
    return int(parent), int(child)


def test_a_killed_program_is_restarted_and_its_children_are_ended(program: Program, pid_file: Path) -> None:
    program.keep_running()
    parent, child = read_pids(pid_file)
    pid_file.unlink()

    def is_restarted() -> bool:
        program.keep_running()
        return pid_file.exists()

    os.kill(parent, signal.SIGKILL)
    wait_for(is_restarted)

    new_parent, _ = read_pids(pid_file)
    assert new_parent != parent
    wait_for(lambda: not is_alive(child))


def test_ending_a_program_ends_its_children(program: Program, pid_file: Path) -> None:
    program.keep_running()
    parent, child = read_pids(pid_file)

    program.ask_to_end()
    program.end(5)

    wait_for(lambda: not is_alive(parent) and not is_alive(child))


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', flush=True); time.sleep(600)"
    )
    program = Program("stubborn", [sys.executable, "-c", stubborn], tmp_path, tmp_path)
    program.keep_running()
    wait_for(lambda: (tmp_path / "stubborn.log").read_text() == "ready\n")

    program.ask_to_end()
    program.end(0.1)

    assert program._process is not None
    assert program._process.returncode == -signal.SIGKILL
