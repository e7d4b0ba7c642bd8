"""Train the recipes on a separate stack, and write their results to docs/recipes.md.

Usage: `python -m local.recipes [--tables FOLDER] [RECIPE…]`. Without names, it trains all recipes. With names, the rows
of all other recipes stay unchanged. FOLDER contains the CSV files that some recipes need.
"""

import argparse
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from local.client import StackFailed, follow_job, get_version, read_body, run_stack, submit_recipe
from local.demo import end_in_order
from local.stack import ROOT, CannotStart
from shared.settings import Settings

TABLE = ROOT / "docs" / "recipes.md"
HEAD = """# Recipes

Each file in [recipes](../recipes) is a training spec. You can post most recipes without changes. Some need a CSV file
that you upload first; a comment in these recipes shows how. `make recipes` trains the recipes through the service and
writes this table.

- **published** is the result that the course material prints, or the condition that the recipe must meet.
- **ours** is the result of our training on the validation part and the test part. If a recipe has neither part, it is
  the result on the training part.
- **epochs** is the number of trained epochs. "of 20" is the number of requested epochs, if it is larger. "kept 11" is
  the epoch whose weights are published, if it is not the last one.
- **seconds** is the time from posting the spec to the end of the job. The machine has two cores and ran other work as
  well.

| recipe | parameters | published | ours | epochs | seconds |
| --- | ---: | --- | --- | ---: | ---: |
"""


def run(settings: Settings, names: Sequence[str], tables: Path | None) -> None:
    """Train the recipes, and write the table after each of them.

    Args:
        names: recipes to train; empty for all.
        tables: folder with CSV files. If it is None, recipes that need a CSV file are skipped.

    Raises:
        StackFailed: a request or a training failed.
        CannotStart: the stack could not start.
    """
    rows = _read_rows()
    with run_stack(settings) as http:
        for path in sorted((ROOT / "recipes").glob("*.yaml")):
            fields = parse_upload_fields(path)
            if names and path.stem not in names:
                continue
            if fields and tables is None:
                print(f"{path.stem}: not trained. Set `--tables` to the folder that contains {fields['file'][0]}.")
                continue
            if fields and tables is not None:
                _upload(http, fields, tables)
            rows[path.stem] = _train_recipe(http, path)
            print(rows[path.stem], flush=True)
            TABLE.write_text(HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows)))


def _read_rows() -> dict[str, str]:
    """Read the rows of the present table by recipe, without recipes that no longer exist."""
    found = re.finditer(r"^\| \[(.+?)\]\(.*$", TABLE.read_text(), re.MULTILINE) if TABLE.exists() else ()
    return {row[1]: row[0] for row in found if (ROOT / "recipes" / f"{row[1]}.yaml").exists()}


def parse_upload_fields(recipe: Path) -> dict[str, list[str]]:
    """Parse the form fields of the `curl` command in the comment of a recipe. Returns no fields if it has no command.

    Each field has a list of values. The field `file` has the name of the file to upload.
    """
    fields: dict[str, list[str]] = {}
    for line in recipe.read_text().splitlines():
        if line.startswith("# curl "):
            for key, value in re.findall(r"-F (\w+)=@?(\S+)", line):
                fields.setdefault(key, []).append(value)
    return fields


def _upload(http: httpx.Client, fields: dict[str, list[str]], tables: Path) -> None:
    path = tables / fields["file"][0]
    form = {key: values for key, values in fields.items() if key != "file"}
    with path.open("rb") as file:
        read_body(http.post("/api/v1/datasets", data=form, files={"file": file}))


def _train_recipe(http: httpx.Client, path: Path) -> str:
    """Train a recipe. Returns its row of the table. Raises StackFailed."""
    posted_at = time.monotonic()
    *_, job = follow_job(http, submit_recipe(http, path))
    seconds = time.monotonic() - posted_at
    version = get_version(http, job)
    published = job["tags"].get("published", "")
    name = f"[{path.stem}](../recipes/{path.name})"
    figures = [
        name,
        f"{version['parameters']:,}",
        published,
        _format_figures(version["metrics"]),
        _format_epochs(version["epochs"]),
    ]
    return f"| {' | '.join(figures)} | {seconds:.1f} |"


def _format_figures(metrics: dict[str, Any]) -> str:
    """Format the metrics of the validation part and the test part, without the loss.

    Without both parts, format the metrics and the loss of the training part.
    """
    held_out = any(metrics[part] for part in ("validation", "test"))
    left_out = ("train", "last_epoch") if held_out else ("last_epoch",)
    parts = {part: values for part, values in metrics.items() if values and part not in left_out}
    return "; ".join(
        f"{part} {name} {value:.4f}"
        for part, values in parts.items()
        for name, value in values.items()
        if name != "loss" or part == "train"
    )


def _format_epochs(epochs: dict[str, int]) -> str:
    """Format the numbers of epochs, such as `13 of 20, kept 11`."""
    kept = "" if epochs["kept"] == epochs["trained"] else f", kept {epochs['kept']}"
    asked = "" if epochs["asked"] == epochs["trained"] else f" of {epochs['asked']}"
    return f"{epochs['trained']}{asked}{kept}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m local.recipes")
    arguments.add_argument("--tables", type=Path, help="folder with the CSV files that some recipes need")
    arguments.add_argument("recipes", nargs="*", help="names of the recipes to train (default: all)")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        run(Settings(), given.recipes, given.tables)
    except (CannotStart, StackFailed) as reason:
        sys.exit(f"trainyard: {reason}")
