from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from shared.database import make_engine
from shared.settings import Settings
from shared.tables import Base


def test_the_migrations_make_the_tables_as_they_are_declared(settings: Settings) -> None:
    engine = make_engine(settings.database_url)

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)

    engine.dispose()
    assert differences == []
