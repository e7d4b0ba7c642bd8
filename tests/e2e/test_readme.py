"""Run the commands of the README, then those of docs/models.md, in their order."""

import json
import re
import subprocess
from pathlib import Path

from tests.support.databases import ROOT
from tests.support.stacks import Stack
from tests.support.waiting import wait_for


def run(command: str, stack: Stack, folder: Path = ROOT) -> str:
    """Run a command of a page as a reader would, in a shell in this folder. Raises CalledProcessError for an error."""
    command = command.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}").replace("curl -s", "curl --fail -s")
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=True, text=True)  # noqa: S602
    return done.stdout


def find_commands(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page, each with what the page says that it prints, up to the first `…`."""
    found = re.findall(r"^\$ (curl .+)\n(?:([^\s$`][^…\n]*))?", (ROOT / page).read_text(), re.MULTILINE)
    return [(command, shown) for command, shown in found]


def test_commands_of_the_readme_and_the_models_page_work_in_their_order(stack: Stack, tmp_path: Path) -> None:
    submit, show, predict = (command for command, _ in find_commands("README.md"))

    job = json.loads(run(submit, stack))
    wait_for(lambda: json.loads(run(show, stack))["jobs"][0]["status"] == "succeeded", seconds=180)
    latest_job = json.loads(run(show, stack))["jobs"][0]
    prediction = json.loads(run(predict, stack))

    assert (job["status"], latest_job["id"]) == ("queued", job["id"])
    assert (prediction["model"], prediction["predictions"][0]["label"]) == ("digits-cnn", "6")
    for command, shown in find_commands("docs/models.md"):
        entry = shown.partition("[")[2] or shown  # other tests have models too, which a list can show first
        assert entry in run(command, stack, tmp_path)
