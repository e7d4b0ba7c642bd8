"""Define what every table builds on: the declarative base, UTC times and the database's clock."""

from datetime import UTC, datetime
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


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite keeps no time zone: what comes back is said to be UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class now(FunctionElement[datetime]):  # noqa: N801 - it stands in SQL, as a function
    """The database's clock, so many seconds on: no worker's own clock decides anything."""

    type = UtcDateTime()
    inherit_cache = False

    def __init__(self, plus_seconds: float = 0) -> None:
        super().__init__()
        self.plus_seconds = float(plus_seconds)


@compiles(now, "postgresql")
def _now_in_postgresql(element: now, _: SQLCompiler, **__: object) -> str:
    return f"(clock_timestamp() + interval '{element.plus_seconds} seconds')"


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, _: SQLCompiler, **__: object) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.plus_seconds:+} seconds')"


class Base(DeclarativeBase):
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
        Document: JSON(none_as_null=True),
        list[str]: JSON,
    }
