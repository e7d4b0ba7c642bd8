"""Test that the documentation agrees with the settings, problems, files and spec of the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from api.http.problems import STATUS
from api.planner.process.dry_run import plan_training
from shared import errors
from shared.access.rights import SCOPES_OF_ROLE, Role, Scope
from shared.errors import TrainingFailure
from shared.settings import Settings
from shared.spec.training import TrainingSpec
from shared.version import VERSION

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
SPEC_PAGE = PAGES["spec.md"]
EXAMPLE = (ROOT / ".env.example").read_text()
SETTINGS = {f"TRAINYARD_{name.upper()}" for name in Settings.model_fields}
PROCESSES = ("api", "local", "shared", "worker")


def test_the_settings_page_lists_exactly_the_settings() -> None:
    assert set(re.findall(r"TRAINYARD_[A-Z_]+", PAGES["settings.md"])) == SETTINGS


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_only_existing_settings(page: str) -> None:
    assert set(re.findall(r"TRAINYARD_[A-Z_]+[A-Z]", PAGES[page])) <= SETTINGS


def test_the_example_lists_exactly_the_settings() -> None:
    assert sorted(re.findall(r"^(TRAINYARD_[A-Z_]+)=", EXAMPLE, re.MULTILINE)) == sorted(SETTINGS)


def test_the_example_settings_equal_the_defaults() -> None:
    assert Settings(_env_file=ROOT / ".env.example") == Settings(_env_file=None)


def test_the_problems_page_lists_every_problem_with_its_status() -> None:
    rows = [line.split("|")[1:3] for line in PAGES["problems.md"].splitlines() if line.startswith("| `")]
    documented = {kind: status.strip() for kinds, status in rows for kind in re.findall(r"`([a-z-]+)`", kinds)}
    failures = {error.kind for error in vars(errors).values() if is_training_failure(error)}

    assert set(documented) == failures | {error.kind for error in STATUS}
    assert {error.kind: str(int(status)) for error, status in STATUS.items()} == {
        kind: status for kind, status in documented.items() if kind not in failures
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_on_a_page_exists(page: str) -> None:
    named = re.findall(r"`((?:api|docs|local|recipes|requirements|shared|tests|worker)/[\w./-]*)`", PAGES[page])
    linked = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", PAGES[page])
    folder = ROOT if (ROOT / page).exists() else ROOT / "docs"

    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [path for path in linked if not (folder / path).exists()] == []


def test_the_architecture_page_names_every_folder() -> None:
    folders = [
        path.relative_to(ROOT)
        for process in PROCESSES
        for path in (ROOT / process).rglob("*")
        if path.is_dir() and path.name != "__pycache__" and any(path.glob("*.py"))
    ]

    page = PAGES["architecture.md"]
    assert [str(folder) for folder in folders if f"{folder}/" not in page and f"`{folder.name}/`" not in page] == []


def test_the_access_page_has_the_rights_of_each_role() -> None:
    rows = re.findall(r"^\| `(\w+)`:[^|]*((?:\| ?✓? ?)+)\|$", PAGES["access.md"], re.MULTILINE)

    told = {scope: [mark.strip() == "✓" for mark in marks[1:].split("|")] for scope, marks in rows}
    assert told == {scope.value: [scope in SCOPES_OF_ROLE[role] for role in Role] for scope in Scope}


def test_image_labels_and_changelog_name_the_present_version() -> None:
    labels = re.findall(r"org\.opencontainers\.image\.version=\"?([\d.]+)", (ROOT / "Dockerfile").read_text())
    newest = re.search(r"^## \[([\d.]+)\]", PAGES["CHANGELOG.md"], re.MULTILINE)

    assert set(labels) == {VERSION}
    assert newest is not None
    assert newest[1] == VERSION


def test_the_spec_page_names_every_key() -> None:
    documented = set(re.findall(r"[a-z_0-9]+", SPEC_PAGE))

    assert collect_keys(TrainingSpec) - documented == set()


@pytest.mark.parametrize("example", re.findall(r"```(?:yaml|json)\n(.*?)```", SPEC_PAGE, re.DOTALL))
def test_every_example_on_the_spec_page_can_be_planned(example: str) -> None:
    spec = TrainingSpec.model_validate(YAML(typ="safe").load(example))

    assert plan_training(spec, max_parameters=10**6, max_prepared_bytes=2**30).parameters > 0


def collect_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys of a model and of all models nested in it."""
    keys = set()
    for name, field in model.model_fields.items():
        keys |= {field.alias or name}
        for inner in find_models(field.annotation):
            keys |= collect_keys(inner) if inner is not model else set()
    return keys


def find_models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from find_models(argument)


def is_training_failure(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, TrainingFailure) and error is not TrainingFailure
