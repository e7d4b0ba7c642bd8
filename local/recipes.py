"""Train the recipes on a separate stack, and write their results to docs/recipes.md and recipes/results.json.

Usage: `python -m local.recipes [--tables FOLDER] [RECIPE…]`. Without names, it trains all recipes. With names, the rows
of all other recipes stay unchanged. FOLDER contains the CSV files that some recipes need.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from api.documents.recipes import FOLDER, RESULTS, load_recipes, parse_upload_fields
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
    results = json.loads(RESULTS.read_text())
    with run_stack(settings) as http:
        for path in sorted(FOLDER.glob("*.yaml")):
            fields = parse_upload_fields(path.read_text())
            if names and path.stem not in names:
                continue
            if fields and tables is None:
                print(f"{path.stem}: not trained. Set `--tables` to the folder that contains {fields['file'][0]}.")
                continue
            if fields and tables is not None:
                _upload(http, fields, tables)
            results[path.stem] = _train_recipe(http, path)
            print(path.stem, *results[path.stem].values(), sep=", ", flush=True)
            _write_results(results)


def _write_results(results: dict[str, dict[str, Any]]) -> None:
    """Write the results, and the table from them. Recipes that no longer exist are left out."""
    recipes = load_recipes()
    kept = {name: results[name] for name in sorted(results) if name in recipes}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    rows = (
        f"| [{name}](../recipes/{name}.yaml) | {result['parameters']:,} "
        f"| {recipes[name].spec.get('tags', {}).get('published', '')} | {result['figures']} | {result['epochs']} "
        f"| {result['seconds']:.1f} |\n"
        for name, result in kept.items()
    )
    TABLE.write_text(HEAD + "".join(rows))


def _upload(http: httpx.Client, fields: dict[str, list[str]], tables: Path) -> None:
    path = tables / fields["file"][0]
    form = {key: values for key, values in fields.items() if key != "file"}
    with path.open("rb") as file:
        read_body(http.post("/api/v1/datasets", data=form, files={"file": file}))


def _train_recipe(http: httpx.Client, path: Path) -> dict[str, Any]:
    """Train a recipe, and return what it reached. Raises StackFailed."""
    posted_at = time.monotonic()
    *_, job = follow_job(http, submit_recipe(http, path))
    seconds = time.monotonic() - posted_at
    version = get_version(http, job)
    return {
        "parameters": version["parameters"],
        "figures": _format_figures(version["metrics"]),
        "epochs": _format_epochs(version["epochs"]),
        "seconds": round(seconds, 1),
    }


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
