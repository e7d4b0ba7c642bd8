"""Alembic's entry point: `alembic upgrade head` brings the database of the settings up to date."""

from pathlib import Path

from alembic import context
from sqlalchemy import NullPool, make_url

from shared.database.engine import make_engine
from shared.database.tables.base import Base
from shared.settings import Settings

url = make_url(Settings().database_url)
if url.drivername == "sqlite" and url.database:
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)

with make_engine(url, poolclass=NullPool).connect() as connection:
    if url.drivername == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # Alembic alters a table by copying it
        # Without it, each statement would commit by itself, and an interrupted migration would stay half done.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
    context.run_migrations()
    connection.commit()
