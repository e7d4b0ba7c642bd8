"""What a reader is told is what there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from api.planner.process.dry_run import plan_training
from shared import errors
from shared.errors import TrainingFailure
from shared.settings import Settings
from shared.spec.training import TrainingSpec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SPEC_PAGE = (ROOT / "docs" / "spec.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SETTINGS = {f"TRAINYARD_{name.upper()}" for name in Settings.model_fields}


def test_the_readme_lists_every_setting_and_no_other() -> None:
    assert set(re.findall(r"TRAINYARD_[A-Z_]+", README)) == SETTINGS


def test_the_example_lists_every_setting_and_no_other() -> None:
    assert sorted(re.findall(r"^(TRAINYARD_[A-Z_]+)=", EXAMPLE, re.MULTILINE)) == sorted(SETTINGS)


def test_the_example_changes_nothing() -> None:
    assert Settings(_env_file=ROOT / ".env.example") == Settings(_env_file=None)


def test_the_readme_says_what_to_do_about_every_failure() -> None:
    kinds = {error.kind for error in vars(errors).values() if is_failure(error)}

    assert kinds <= set(re.findall(r"^\| `([a-z-]+)`", README, re.MULTILINE))


def test_every_file_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:api|local|recipes|requirements|shared|tests|worker)/[\w./-]*)`", README)

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_page_of_the_spec_has_every_key() -> None:
    told = set(re.findall(r"[a-z_]+", SPEC_PAGE))

    assert keys_of(TrainingSpec) - told == set()


@pytest.mark.parametrize("example", re.findall(r"```(?:yaml|json)\n(.*?)```", SPEC_PAGE, re.DOTALL))
def test_every_example_on_the_page_can_be_trained(example: str) -> None:
    spec = TrainingSpec.model_validate(YAML(typ="safe").load(example))

    assert plan_training(spec, max_parameters=10**6).parameters > 0


def keys_of(model: type[BaseModel]) -> set[str]:
    """Of the spec and all that stands inside of it."""
    keys = set()
    for name, field in model.model_fields.items():
        keys |= {field.alias or name}
        for inner in models_in(field.annotation):
            keys |= keys_of(inner) if inner is not model else set()
    return keys


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def is_failure(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, TrainingFailure) and error is not TrainingFailure
