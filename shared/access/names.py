"""Reserve the names of models and data sets for who uses them first."""

import re

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database.tables.datasets import DatasetName
from shared.database.tables.registry import Model
from shared.errors import NameTaken

MAX_CHARACTERS = 100
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]")
Named = type[Model] | type[DatasetName]
NOUNS: dict[Named, str] = {Model: "model", DatasetName: "data set"}


def claim_name(session: Session, table: Named, name: str, login: str, *, may_use_all: bool) -> None:
    """Reserve a name of a model or a data set for a user. A second call for the same user has no effect.

    Of two transactions that claim one name, the second waits for the first. Raises NameTaken if it belongs to somebody
    else, or to nobody who is known, and not `may_use_all`.
    """
    find = select(table.created_by).where(table.name == name)
    found = session.execute(find).one_or_none()
    if found is None:
        try:
            with session.begin_nested():
                session.execute(insert(table).values(name=name, last_number=0, created_by=login))
        except IntegrityError:  # another transaction has inserted the name in the meantime
            found = session.execute(find).one()
        else:
            return
    _check_owner(table, name, found.created_by, login, may_use_all=may_use_all)
    if found.created_by is None:
        session.execute(update(table).where(table.name == name).values(created_by=login))


def check_name(session: Session, table: Named, name: str, login: str, *, may_use_all: bool) -> None:
    """Check that a user may use a name, without reserving it. Raises NameTaken."""
    found = session.execute(select(table.created_by).where(table.name == name)).one_or_none()
    if found is not None:
        _check_owner(table, name, found.created_by, login, may_use_all=may_use_all)


def _check_owner(table: Named, name: str, created_by: str | None, login: str, *, may_use_all: bool) -> None:
    if created_by == login or may_use_all:
        return
    owner = f"{created_by!r}" if created_by is not None else "nobody who is known"
    raise NameTaken(
        f"The name {name!r} is that of a {NOUNS[table]} of {owner}. Choose another name, such as "
        f"{make_own_name(name, login)!r}, or ask a maintainer."
    )


def make_own_name(name: str, login: str) -> str:
    """Return a name with the login at its end, unless it is there already: `mnist-cnn.ada`."""
    end = f".{_NOT_IN_NAMES.sub('-', login.lower())}"
    return name if name.endswith(end) else f"{name[: MAX_CHARACTERS - len(end)]}{end}"
