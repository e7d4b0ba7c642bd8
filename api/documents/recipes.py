"""Define the documents about recipes, and load them: specs that can be sent as they are."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field
from ruamel.yaml import YAML

from api.documents.base import Document

FOLDER = Path(__file__).parents[2] / "recipes"
RESULTS = FOLDER / "results.json"
"""The results of the recipes, which `make recipes` writes."""


class RecipeResult(Document):
    """The results of a recipe on a machine with two cores that did other work as well."""

    parameters: int
    figures: str = Field(description="The metrics of the validation part and the test part, or else of the training.")
    epochs: str
    seconds: float


class Recipe(Document):
    """A spec that can be sent as it is, or after the upload of a table."""

    name: str
    title: str
    model: str
    dataset: str | None = Field(description="The data set; null for data in the spec itself.")
    upload: dict[str, list[str]] | None = Field(
        description="The fields of the form with which the data set is uploaded first; null for built-in data."
    )
    result: RecipeResult | None = Field(description="What it reached; null if it was not measured.")


class RecipeDocument(Recipe):
    """A recipe with its spec."""

    text: str = Field(description="The spec as YAML, with its comments.")
    spec: dict[str, Any]


class RecipeList(Document):
    """All recipes, ordered by name."""

    recipes: list[Recipe]


@cache
def load_recipes() -> dict[str, RecipeDocument]:
    """Load the recipes, by name."""
    results = json.loads(RESULTS.read_text())
    return {path.stem: _load_recipe(path, results.get(path.stem)) for path in sorted(FOLDER.glob("*.yaml"))}


def parse_upload_fields(text: str) -> dict[str, list[str]]:
    """Parse the form fields of the `curl` command in the comment of a recipe. Returns no fields if it has no command.

    Each field has a list of values. The field `file` has the name of the file to upload.
    """
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("# curl "):
            for key, value in re.findall(r"-F (\w+)=@?(\S+)", line):
                fields.setdefault(key, []).append(value)
    return fields


def _load_recipe(path: Path, result: dict[str, Any] | None) -> RecipeDocument:
    text = path.read_text()
    spec = YAML(typ="safe", pure=True).load(text)
    return RecipeDocument(
        name=path.stem,
        title=text.partition("\n")[0].removeprefix("# "),
        model=spec["model"],
        dataset=spec["dataset"].get("name"),
        upload=parse_upload_fields(text) or None,
        result=RecipeResult.model_validate(result) if result is not None else None,
        text=text,
        spec=spec,
    )
