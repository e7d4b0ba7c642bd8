"""The connection to the registry: PostgreSQL, or SQLite in WAL mode."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import Session, SessionTransaction, SessionTransactionOrigin, sessionmaker

BUSY_TIMEOUT_SECONDS = 30
IDLE_TRANSACTION_SECONDS = 15
"""A process that is frozen in the middle of a transaction holds its locks no longer than that."""
CONNECT_SECONDS = 5
DATABASE_ERRORS = (OperationalError, InterfaceError, InternalError)
"""What is raised when the database is gone, shuts down, or has ended a transaction that stood still."""

Sessions = sessionmaker[Session]


def make_engine(url: str | URL, **options: Any) -> Engine:  # noqa: ANN401 - SQLAlchemy's own
    if make_url(url).get_backend_name() == "postgresql":
        options.setdefault("connect_args", {"connect_timeout": CONNECT_SECONDS})
    engine = create_engine(url, pool_pre_ping=True, **options)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def make_sessions(engine: Engine) -> Sessions:
    """`with sessions.begin() as session` to write, `with sessions() as session` to read."""
    # Committed objects must stay readable: documents are built after the commit.
    sessions = sessionmaker(engine, expire_on_commit=False)
    if engine.dialect.name == "sqlite":
        event.listen(sessions, "after_begin", _begin_sqlite)
    return sessions


def _configure_postgresql(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'")
    connection.commit()


def _configure_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    connection.isolation_level = None  # the driver would begin transactions by itself, and too late
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")


def _begin_sqlite(_: Session, transaction: SessionTransaction, connection: Any) -> None:  # noqa: ANN401
    """A writer takes its lock at once: one that reads first and writes later can be refused without waiting."""
    if transaction.nested:  # a savepoint, for which SQLAlchemy speaks
        return
    writes = transaction.origin is SessionTransactionOrigin.BEGIN
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
