"""Execute the notebooks of docs/course against a stack of their own. Their cells check the figures.

Usage: `python -m local.course [--tables FOLDER] [--photos FOLDER] [--short] [--write] [NOTEBOOK…]`. FOLDER contains the
CSV files, or photos. With `--short`, trainings on large data sets are cut, and their figures are only shown. With
`--write`, the notebooks keep their outputs, and the table of docs/course/README.md their figures.
"""

import argparse
import csv
import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.client import StackFailed, run_stack
from local.demo import end_in_order
from local.stack import ROOT, CannotStart
from shared.settings import Settings

FOLDER = ROOT / "docs" / "course"
EXERCISES = FOLDER / "exercises.csv"
README = FOLDER / "README.md"
CELL_SECONDS = 3600
FIGURE = re.compile(r"^\*\*(\d{3}-\d+)\*\* (.*)$", re.MULTILINE)
"""What `compare` of docs/course/course.py shows: the exercise, and its published and its own figure."""
TITLES = {
    "000": "Keras, CNN, CIFAR-10",
    "001": "TensorFlow, backpropagation",
    "002": "Fashion-MNIST",
    "003": "MLP, XOR, activations",
    "004": "Losses, optimizers",
}


def run(settings: Settings, names: Sequence[str], environment: dict[str, str], *, writes: bool) -> None:
    """Execute notebooks one after another.

    Args:
        names: those to execute, without their ending; empty for all.
        environment: what the notebooks read from it.
        writes: whether the outputs and figures are kept.

    Raises:
        StackFailed: a cell failed, or a figure is too far from the published one.
        CannotStart: the stack could not start.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with run_stack(settings) as http:
        kernel = {**os.environ, **environment, "TRAINYARD_URL": str(http.base_url).rstrip("/")}
        for path in list_notebooks():
            if names and path.stem not in names:
                continue
            began = time.monotonic()
            notebook = nbformat.read(path, as_version=4)
            client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(FOLDER)}})
            try:
                client.execute(env=kernel)
            except CellExecutionError as error:
                raise StackFailed(f"{path.relative_to(ROOT)}: {error}") from error
            print(f"{path.relative_to(ROOT)}: executed in {time.monotonic() - began:.0f} s", flush=True)
            if writes:
                for cell in notebook.cells:
                    cell.metadata.pop("execution", None)  # the times of the cells differ in each run
                nbformat.write(notebook, path)
    if writes:
        README.write_text(make_page(README.read_text()))


def list_notebooks() -> list[Path]:
    """List the notebooks in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def make_page(page: str) -> str:
    """Return the page with the table of all exercises, from EXERCISES and from the outputs of the notebooks."""
    head, mark, _ = page.partition("<!-- table -->\n")
    figures = _read_figures()
    files = {f"{index:03d}": path.name for index, path in enumerate(list_notebooks())}
    lines: list[str] = []
    for row in read_exercises():
        note, _, number = row["exercise"].partition("-")
        if number == "1":
            lines += [f"\n## {note}: {TITLES[note]} ([{files[note]}]({files[note]}))\n", *TABLE_HEAD]
        lines.append(
            f"| {number} | {row['korean']} | {row['english']} | {row['with']} | {figures.get(row['exercise'], '')} |"
        )
    return head + mark + "\n".join(lines) + "\n"


TABLE_HEAD = ("| # | 실습 | exercise | with | published → ours |", "| ---: | --- | --- | --- | --- |")


def read_exercises() -> list[dict[str, str]]:
    """Read the exercises: number, Korean and English name, and what of the service does it."""
    with EXERCISES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read_figures() -> dict[str, str]:
    """Return the figures of each exercise, as the notebooks show them."""
    found: dict[str, list[str]] = {}
    for path in list_notebooks():
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                shown = "".join(output.get("data", {}).get("text/markdown", []))
                for exercise, figure in FIGURE.findall(shown):
                    found.setdefault(exercise, []).append(figure.replace("|", "\\|"))
    return {exercise: "; ".join(figures) for exercise, figures in found.items()}


def _make_environment(given: Any) -> dict[str, str]:  # noqa: ANN401 - of argparse
    folders = {"TRAINYARD_COURSE_TABLES": given.tables, "TRAINYARD_COURSE_PHOTOS": given.photos}
    environment = {name: str(folder.resolve()) for name, folder in folders.items() if folder is not None}
    return {**environment, "TRAINYARD_COURSE_SHORT": str(int(given.short))}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m local.course")
    arguments.add_argument("--tables", type=Path, help="folder with the CSV files that some exercises need")
    arguments.add_argument("--photos", type=Path, help="folder with photos")
    arguments.add_argument("--short", action="store_true", help="cut the trainings on large data sets")
    arguments.add_argument("--write", action="store_true", help="keep the outputs in the notebooks and in README.md")
    arguments.add_argument("notebooks", nargs="*", help="names of the notebooks to execute (default: all)")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        run(Settings(), given.notebooks, _make_environment(given), writes=given.write)
    except (CannotStart, StackFailed) as reason:
        sys.exit(f"trainyard: {reason}")
