"""Run the commands of the README in their order."""

import json
import re
import subprocess
from typing import Any

from tests.support.databases import ROOT
from tests.support.stacks import Stack
from tests.support.waiting import wait_for


def test_commands_of_the_readme_work_in_their_order(stack: Stack) -> None:
    submit, show, predict = re.findall(r"^\$ (curl .+)$", (ROOT / "README.md").read_text(), re.MULTILINE)

    def run(command: str) -> dict[str, Any]:
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
        # A reader runs the commands in a shell too.
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, check=True)  # noqa: S602
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    job = run(submit)
    wait_for(lambda: run(show)["jobs"][0]["status"] == "succeeded", seconds=180)
    latest_job = run(show)["jobs"][0]
    prediction = run(predict)

    assert (job["status"], latest_job["id"]) == ("queued", job["id"])
    assert (prediction["model"], prediction["predictions"][0]["label"]) == ("digits-cnn", "6")
