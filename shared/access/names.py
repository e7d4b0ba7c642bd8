"""Reserve the names of models and data sets for a project, and in it for who uses them first."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.access.visibility import OF_ALL
from shared.database.tables.datasets import DatasetName
from shared.database.tables.jobs import ENDED, Job
from shared.database.tables.registry import Model, Version
from shared.errors import NameTaken

MAX_CHARACTERS = 100
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]")
Named = type[Model] | type[DatasetName]
NOUNS: dict[Named, str] = {Model: "model", DatasetName: "data set"}


class _Known(NamedTuple):
    """What is stored of a name."""

    created_by: str | None
    project: str
    last_number: int


@dataclass(frozen=True)
class Claimant:
    """Who uses a name, and where.

    Attributes:
        project: the project of a new name; that of a known name if the caller names none.
        may_train: tells whether the claimant may use names of a project.
        may_manage: tells whether it may also use those of others there.
    """

    login: str
    project: str
    is_chosen: bool
    may_train: Callable[[str], bool]
    may_manage: Callable[[str], bool]


def claim_name(session: Session, table: Named, name: str, claimant: Claimant) -> None:
    """Reserve a name of a model or a data set. A second call for the same user has no effect.

    Of two transactions that claim one name, the second waits for the first. Raises NameTaken if it belongs to another
    project, or to somebody else, and the claimant may not manage the project.
    """
    found = _find(session, table, name, locked=True)
    if found is None:
        try:
            with session.begin_nested():
                values = {"created_by": claimant.login, "project": claimant.project}
                session.execute(insert(table).values(name=name, last_number=0, **values))
        except IntegrityError:  # another transaction has inserted the name in the meantime
            found = _find(session, table, name, locked=True)
        else:
            return
    assert found is not None  # noqa: S101 - names are never deleted
    if table is Model and _is_unused(session, name, found):
        values = {"created_by": claimant.login, "project": claimant.project}
        session.execute(update(table).where(table.name == name).values(values))
        return
    _check_owner(table, name, found, claimant)
    if found.created_by is None:
        session.execute(update(table).where(table.name == name).values(created_by=claimant.login))


def check_name(session: Session, table: Named, name: str, claimant: Claimant) -> None:
    """Check that a user may use a name, without reserving it. Raises NameTaken."""
    found = _find(session, table, name, locked=False)
    if found is not None and not (table is Model and _is_unused(session, name, found)):
        _check_owner(table, name, found, claimant)


def _is_unused(session: Session, name: str, found: _Known) -> bool:
    """Return whether a name of a model is free again: nothing was stored under it, and no job is to do so."""
    if found.last_number:
        return False
    unended = select(Job.id).where(Job.model == name, Job.status.not_in(ENDED)).limit(1)
    candidates = select(Version.job_id).where(Version.model == name).limit(1)
    return all(session.scalars(one, execution_options=OF_ALL).first() is None for one in (unended, candidates))


def _find(session: Session, table: Named, name: str, *, locked: bool) -> _Known | None:
    query = select(table.created_by, table.project, table.last_number).where(table.name == name)
    query = query.with_for_update() if locked else query
    row = session.execute(query, execution_options=OF_ALL).one_or_none()
    return _Known(row.created_by, row.project, row.last_number) if row is not None else None


def _check_owner(table: Named, name: str, found: _Known, claimant: Claimant) -> None:
    own_name = make_own_name(name, claimant.login)
    if not claimant.may_train(found.project) or (claimant.is_chosen and claimant.project != found.project):
        raise NameTaken(f"The name {name!r} is that of a {NOUNS[table]} of another project.{_suggest(name, own_name)}")
    if found.created_by == claimant.login or claimant.may_manage(found.project):
        return
    owner = f"{found.created_by!r}" if found.created_by is not None else "nobody who is known"
    raise NameTaken(
        f"The name {name!r} is that of a {NOUNS[table]} of {owner}.{_suggest(name, own_name)} Or ask a maintainer."
    )


def _suggest(name: str, own_name: str) -> str:
    return f" Choose another name{f', such as {own_name!r}' if own_name != name else ''}."


def make_own_name(name: str, login: str) -> str:
    """Return a name with the login at its end, unless it is there already: `mnist-cnn.ada`."""
    end = f".{_NOT_IN_NAMES.sub('-', login.lower())}"
    return name if name.endswith(end) else f"{name[: MAX_CHARACTERS - len(end)]}{end}"
