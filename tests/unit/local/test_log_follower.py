"""Test which lines of the log files are shown."""

import json
from pathlib import Path

import pytest

from local import log_follower
from local.log_follower import LogFollower

LINE = {"time": "2026-11-29 10:00:00,000", "level": "INFO", "logger": "worker.job", "message": "trained", "job_id": "7"}


def write(folder: Path, name: str, text: str) -> None:
    with (folder / f"{name}.log").open("a") as file:
        file.write(text)


def test_only_our_own_new_lines_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "worker", json.dumps({**LINE, "message": "of the last start"}) + "\n")
    follower = LogFollower(tmp_path, ["api", "worker"])
    write(tmp_path, "worker", "I0000 devices.cc:76] GPUs: 0\n{}\n" + json.dumps(LINE) + "\n")

    follower.show()
    follower.close()

    assert capsys.readouterr().err == json.dumps(LINE) + "\n"


def test_a_line_is_shown_when_it_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follower = LogFollower(tmp_path, ["api"])
    text = json.dumps(LINE)
    write(tmp_path, "api", text[:30])
    follower.show()
    assert capsys.readouterr().err == ""

    write(tmp_path, "api", text[30:] + "\n")
    follower.close()

    assert capsys.readouterr().err == text + "\n"


def test_a_terminal_gets_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    follower = LogFollower(tmp_path, ["api"])
    write(tmp_path, "api", json.dumps({**LINE, "exception": "Traceback"}) + "\n")

    follower.close()

    assert capsys.readouterr().err == "2026-11-29 10:00:00,000 INFO worker.job trained job_id=7\nTraceback\n"


def test_a_large_log_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "MAX_OLD_BYTES", 10)
    write(tmp_path, "api", "12345678901\n")

    LogFollower(tmp_path, ["api"]).close()

    assert (tmp_path / "api.log").read_text() == ""
    assert (tmp_path / "api.log.1").read_text() == "12345678901\n"
