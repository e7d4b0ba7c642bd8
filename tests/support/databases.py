"""Migrate a database to the latest revision, as an operator does."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

ROOT = Path(__file__).parents[2]


def migrate(url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINYARD_DATABASE_URL", url)
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
