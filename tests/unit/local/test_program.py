import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.program import Program
from tests.support.waiting import wait_for

LEAVES_A_CHILD = """
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
def note(tmp_path: Path) -> Path:
    return tmp_path / "pids"


@pytest.fixture
def program(note: Path, tmp_path: Path) -> Iterator[Program]:
    program = Program("sleeper", [sys.executable, "-c", LEAVES_A_CHILD, str(note)], tmp_path, tmp_path)
    yield program
    program.end(0)


def pids(note: Path) -> tuple[int, int]:
    wait_for(lambda: note.exists() and len(note.read_text().split()) == 2)
    parent, child = note.read_text().split()
    return int(parent), int(child)


def test_what_dies_is_started_again_and_what_it_left_is_ended(program: Program, note: Path) -> None:
    program.keep_running()
    parent, child = pids(note)
    note.unlink()

    def is_back() -> bool:
        program.keep_running()
        return note.exists()

    os.kill(parent, signal.SIGKILL)
    wait_for(is_back)

    new_parent, _ = pids(note)
    assert new_parent != parent
    wait_for(lambda: not is_alive(child))


def test_ending_takes_all_along(program: Program, note: Path) -> None:
    program.keep_running()
    parent, child = pids(note)

    program.ask_to_end()
    program.end(5)

    wait_for(lambda: not is_alive(parent) and not is_alive(child))


def test_one_that_will_not_end_is_made_to(tmp_path: Path) -> None:
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
