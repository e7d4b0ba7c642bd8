"""Define the declarative base of the tables, the type of UTC times, the database clock, and who sees a row."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    MetaData,
    TypeDecorator,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Document = dict[str, Any]
"""A JSON object."""


FIRST_TIME, LAST_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone: a value is converted to UTC before, and gets this time zone back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None or value.tzinfo is None:
            return value
        try:
            return value.astimezone(UTC)
        except OverflowError:  # less than a day before the first time, or after the last one
            return FIRST_TIME if value.year == FIRST_TIME.year else LAST_TIME

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class now(FunctionElement[datetime]):  # noqa: N801 - a SQL function, named like one
    """SQL expression for the time of the database clock plus `plus_seconds`.

    All stored times come from this one clock, because the clocks of different machines differ.
    """

    type = UtcDateTime()
    inherit_cache = False  # `plus_seconds` is part of the SQL text, so SQLAlchemy must not cache the compiled SQL

    def __init__(self, plus_seconds: float = 0) -> None:
        super().__init__()
        self.plus_seconds = float(plus_seconds)


@compiles(now, "postgresql")
def _now_in_postgresql(element: now, _: SQLCompiler, **__: object) -> str:
    # now() of PostgreSQL is the start of the transaction.
    return f"(clock_timestamp() + interval '{element.plus_seconds} seconds')"


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, _: SQLCompiler, **__: object) -> str:
    # SQLite compares times as text. SQLAlchemy writes six digits of a second, %f three: 000 adds the rest.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.plus_seconds:+} seconds')"


class Visibility(StrEnum):
    """Who sees a job or a data set: its owner and the maintainers of its project, its project, or every user."""

    PRIVATE = "private"
    PROJECT = "project"
    EVERYONE = "everyone"


class Base(DeclarativeBase):
    """Declarative base of all tables. It names every constraint, because a migration can only alter a named one."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        Document: JSON(none_as_null=True),  # None is NULL, not the JSON value null
        list[str]: JSON,
    }
