"""Test that the migrations create the declared tables."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from shared.database.engine import make_engine
from shared.database.tables.base import Base
from shared.settings import Settings

DESCENDING_INDEX = "ix_jobs_head"
"""Left out of the comparison: Alembic cannot compare an index with a column in descending order."""
DEFINITIONS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = :name",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = :name",
}


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_create_the_declared_tables(settings: Settings) -> None:
    engine = make_engine(settings.database_url)

    def is_comparable(_: object, name: str | None, kind: str, *__: Any) -> bool:
        return (kind, name) != ("index", DESCENDING_INDEX)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_comparable})
        differences = compare_metadata(context, Base.metadata)
        definition = connection.execute(text(DEFINITIONS[engine.dialect.name]), {"name": DESCENDING_INDEX}).scalar_one()

    engine.dispose()
    assert differences == []
    assert "(status, owner, priority DESC, created_at, id)" in definition
