"""`python -m local.recipes [--tables FOLDER] [RECIPE…]`: trains recipes on a stack of its own, for docs/recipes.md.

All of them, or those that are named, and then the others keep the rows they have. The folder has the CSV files that
some say, in a comment, to upload first.
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
HEAD = """# The recipes

Every file of [recipes](../recipes) is a training spec: post it as it is. This table is written by `make recipes`, which
trains them through the service; the seconds are those of one machine with two cores, which had other work as well.
*Published* is what the course material prints, or what the recipe must show. Those that need a CSV say in a comment how
it is uploaded.

| recipe | parameters | published | ours | epochs | seconds |
| --- | ---: | --- | --- | ---: | ---: |
"""


def run(settings: Settings, names: Sequence[str], tables: Path | None) -> None:
    """Raises StackFailed or CannotStart."""
    rows = _read_rows()
    with run_stack(settings) as http:
        for path in sorted((ROOT / "recipes").glob("*.yaml")):
            fields = parse_upload_fields(path)
            if names and path.stem not in names:
                continue
            if fields and tables is None:
                print(f"{path.stem}: not trained, `--tables FOLDER` says where {fields['file'][0]} lies")
                continue
            if fields and tables is not None:
                _upload(http, fields, tables)
            rows[path.stem] = _train_recipe(http, path)
            print(rows[path.stem], flush=True)
            TABLE.write_text(HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows)))


def _read_rows() -> dict[str, str]:
    """By recipe, of those that still are."""
    found = re.finditer(r"^\| \[(.+?)\]\(.*$", TABLE.read_text(), re.MULTILINE) if TABLE.exists() else ()
    return {row[1]: row[0] for row in found if (ROOT / "recipes" / f"{row[1]}.yaml").exists()}


def parse_upload_fields(recipe: Path) -> dict[str, list[str]]:
    """What the recipe's comment says to upload, the file's name under `file`; nothing where it says nothing."""
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
    """Of each part but for the training's, where there is another; the loss only where nothing else was measured."""
    parts = {
        part: values
        for part, values in metrics.items()
        if values and (part != "train" or not any(metrics[other] for other in ("validation", "test")))
    }
    return "; ".join(
        f"{part} {name} {value:.4f}"
        for part, values in parts.items()
        for name, value in values.items()
        if name != "loss" or part == "train"
    )


def _format_epochs(epochs: dict[str, int]) -> str:
    kept = "" if epochs["kept"] == epochs["trained"] else f", kept {epochs['kept']}"
    asked = "" if epochs["asked"] == epochs["trained"] else f" of {epochs['asked']}"
    return f"{epochs['trained']}{asked}{kept}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m local.recipes")
    arguments.add_argument("--tables", type=Path, help="where the CSV files lie that some recipes need")
    arguments.add_argument("recipes", nargs="*", help="the recipes to train; all if left out")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        run(Settings(), given.recipes, given.tables)
    except (CannotStart, StackFailed) as reason:
        sys.exit(f"trainyard: {reason}")
