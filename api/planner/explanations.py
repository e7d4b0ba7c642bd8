"""Explain losses, metrics and activations: their formulas, and when to use them."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Explanation(BaseModel):
    """The formula of an entry, and when to use it. y is the label, p the output, x the input of an activation."""

    model_config = ConfigDict(frozen=True)

    formula: str
    use: str


@cache
def read_explanations(kind: str) -> dict[str, Explanation]:
    """Read the explanations of `losses`, `metrics` or `activations`, by name."""
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return {name: Explanation.model_validate(entry) for name, entry in document[kind].items()}
