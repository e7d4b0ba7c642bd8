"""Connect to the database: PostgreSQL, or SQLite in WAL mode."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import Session, SessionTransaction, SessionTransactionOrigin, sessionmaker

BUSY_TIMEOUT_SECONDS = 30
"""The time for which a statement of SQLite waits for a lock."""
IDLE_TRANSACTION_SECONDS = 15
"""PostgreSQL ends a transaction that is idle for this time. A frozen process then loses its locks."""
CONNECT_SECONDS = 5
DATABASE_ERRORS = (OperationalError, InterfaceError, InternalError)
"""The errors of SQLAlchemy when the database is unreachable, shuts down, or has ended an idle transaction."""

Sessions = sessionmaker[Session]


def make_engine(url: str | URL, **options: Any) -> Engine:  # noqa: ANN401 - the options of SQLAlchemy
    """Create an engine for PostgreSQL or SQLite. `options` are those of `sqlalchemy.create_engine`."""
    if make_url(url).get_backend_name() == "postgresql":
        options.setdefault("connect_args", {"connect_timeout": CONNECT_SECONDS})
    engine = create_engine(url, pool_pre_ping=True, **options)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def make_sessions(engine: Engine) -> Sessions:
    """Return a session factory. Use `sessions.begin()` to write, and `sessions()` only to read."""
    # Committed objects must stay readable: documents are built after the commit.
    sessions = sessionmaker(engine, expire_on_commit=False)
    if engine.dialect.name == "sqlite":
        event.listen(sessions, "after_begin", _begin_sqlite)
    return sessions


def _configure_postgresql(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'")
    connection.commit()


def _configure_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    connection.isolation_level = None  # otherwise the driver begins a transaction only at the first write
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")


def _begin_sqlite(_: Session, transaction: SessionTransaction, connection: Any) -> None:  # noqa: ANN401
    """Begin a transaction, and take the write lock at once if the transaction writes.

    SQLite does not wait for the lock if a transaction reads before its first write: the write can then fail at once.
    """
    if transaction.nested:  # a savepoint, which SQLAlchemy creates itself
        return
    writes = transaction.origin is SessionTransactionOrigin.BEGIN
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
