"""Test that temporary files of killed processes are removed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shared.storage.scratch import Scratch
from tests.support.stacks import ROOT

KILLED_WORKER_SCRIPT = """
import os, signal, sys, tempfile
from pathlib import Path
from shared.storage.scratch import Scratch

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


def run_killed_worker(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WORKER_SCRIPT, str(folder), *arguments], cwd=ROOT, check=False)
    assert done.returncode == -9


def test_the_next_worker_removes_the_files_of_a_killed_worker(folder: Path) -> None:
    run_killed_worker(folder)
    assert len(list(folder.rglob("weights"))) == 1

    scratch = Scratch(folder, "next")
    scratch.open()

    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["next"]
    scratch.close()
    assert list(folder.iterdir()) == []


def test_the_files_of_a_running_worker_are_kept(folder: Path) -> None:
    run_killed_worker(folder, "with another")


def test_the_next_training_process_removes_the_files_of_its_killed_predecessor(folder: Path) -> None:
    scratch = Scratch(folder, "worker-1")
    scratch.open()
    (folder / "worker-1" / "0" / "trainyard-x").mkdir(parents=True)
    (folder / "worker-1" / "1" / "trainyard-y").mkdir(parents=True)

    scratch.enter("0")

    assert list((folder / "worker-1" / "0").iterdir()) == []
    assert (folder / "worker-1" / "1" / "trainyard-y").exists(), "that process runs"
    assert Path(tempfile.mkdtemp()).parent == folder / "worker-1" / "0"
    scratch.close()
