"""What a reader is told is what there is."""

import re
from pathlib import Path

from shared import errors
from shared.errors import TrainingFailure
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
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


def is_failure(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, TrainingFailure) and error is not TrainingFailure
