"""Test that the migrations create the declared tables."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from shared.database.engine import make_engine
from shared.database.tables.base import Base
from shared.settings import Settings

DESCENDING_INDEX = "ix_jobs_head"
"""Left out of the comparison: Alembic cannot compare an index with a column in descending order."""


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_create_the_declared_tables(settings: Settings) -> None:
    engine = make_engine(settings.database_url)

    def is_comparable(_: object, name: str | None, kind: str, *__: Any) -> bool:
        return (kind, name) != ("index", DESCENDING_INDEX)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_comparable})
        differences = compare_metadata(context, Base.metadata)
        indexes = {str(index["name"]) for index in inspect(connection).get_indexes("jobs")}

    engine.dispose()
    assert differences == []
    assert DESCENDING_INDEX in indexes or engine.dialect.name == "sqlite"
