"""Train on SQLite only: tests/integration/jobs runs jobs on both databases."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite"])
def database_url(empty_sqlite: Path, tmp_path: Path) -> str:
    """Provide the URL of a new, migrated SQLite database."""
    shutil.copy(empty_sqlite, tmp_path / "trainyard.db")
    return f"sqlite:///{tmp_path}/trainyard.db"
