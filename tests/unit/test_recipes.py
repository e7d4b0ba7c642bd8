"""Test that every recipe is a valid training spec."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from shared.spec.training import TrainingSpec

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_valid_spec_named_after_its_file(path: Path) -> None:
    spec = TrainingSpec.model_validate(YAML(typ="safe").load(path.read_text()))

    assert spec.model == path.stem
