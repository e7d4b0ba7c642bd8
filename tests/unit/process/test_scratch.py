"""Temporary files of processes that were killed do not stay."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.stacks import ROOT
from worker.process.scratch import Scratch

KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from worker.process.scratch import Scratch

scratch = Scratch(Path(sys.argv[1]), "killed")
scratch.open()
scratch.enter()
Path(tempfile.mkdtemp(), "weights").write_bytes(b"x")
if len(sys.argv) > 2:
    other = Scratch(Path(sys.argv[1]), "other")
    other.open()
    assert Path(sys.argv[1], "killed").exists()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "scratch"


def kill_one(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), *arguments], cwd=ROOT, check=False)
    assert done.returncode == -9


def test_what_a_killed_worker_left_is_removed_by_the_next(folder: Path) -> None:
    kill_one(folder)
    assert len(list(folder.rglob("weights"))) == 1

    scratch = Scratch(folder, "next")
    scratch.open()

    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["next"]
    scratch.close()
    assert list(folder.iterdir()) == []


def test_what_a_living_worker_has_stays(folder: Path) -> None:
    kill_one(folder, "with another")


def test_what_a_killed_training_process_left_is_removed_by_the_next(folder: Path) -> None:
    scratch = Scratch(folder, "worker-1")
    scratch.open()
    (folder / "worker-1" / "12345" / "trainyard-x").mkdir(parents=True)

    scratch.enter()

    (own,) = (folder / "worker-1").iterdir()
    assert Path(tempfile.mkdtemp()).parent == own
    scratch.close()
