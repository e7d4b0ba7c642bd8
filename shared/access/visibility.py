"""Hide the models, data sets and jobs that a user may not see, in every query of a session.

A session of a request adds the conditions here to each SELECT, also to those of relationships and of subqueries. So a
query that is written tomorrow hides them too. A query that must count everything, such as the places in the queue, is
marked with OF_ALL. Changes are not conditional: what they change was found by a SELECT before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, event, or_, select
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria

from shared.access.rights import SCOPES_OF_ROLE, Role, Scope
from shared.database.engine import Sessions
from shared.database.tables.base import Visibility
from shared.database.tables.datasets import DatasetName, Revision
from shared.database.tables.jobs import Job
from shared.database.tables.registry import Alias, Model, Version

OF_ALL: Final[Mapping[str, Any]] = {"of_all_projects": True}
"""The execution options of a query that sees everything."""


@dataclass(frozen=True)
class Viewer:
    """Somebody who does not see everything.

    Attributes:
        projects: those of the user.
        managed: those in which it sees also what is private.
    """

    login: str
    projects: tuple[str, ...]
    managed: tuple[str, ...]

    @classmethod
    def from_roles(cls, login: str, roles: Mapping[str, Role]) -> "Viewer":
        managed = (name for name, role in roles.items() if Scope.MANAGE in SCOPES_OF_ROLE[role])
        return cls(login, tuple(roles), tuple(managed))

    def sees_job(self, job: Job) -> bool:
        """Return whether the viewer sees a job. It says what `_make_condition` says to the database."""
        if job.visibility == Visibility.EVERYONE:
            return True
        is_shown = job.visibility == Visibility.PROJECT or job.owner == self.login or job.project in self.managed
        return is_shown and job.project in self.projects


def restrict(sessions: Sessions, find_viewer: Callable[[], Viewer | None]) -> None:
    """Let the sessions hide what the viewer may not see.

    `find_viewer` is called for each query, and returns None for one who sees everything.
    """

    @event.listens_for(sessions, "do_orm_execute")
    def hide(state: ORMExecuteState) -> None:
        if not state.is_select or state.is_column_load or state.is_relationship_load:  # these have the conditions
            return
        if state.execution_options.get("of_all_projects"):
            return
        viewer = find_viewer()
        if viewer is not None:
            state.statement = state.statement.options(*_make_conditions(viewer))


def _make_conditions(viewer: Viewer) -> list[Any]:
    models = select(Model.__table__.c.name).where(Model.__table__.c.project.in_(viewer.projects))
    table = DatasetName.__table__.c
    names = select(table.name).where(_make_condition(viewer, table, table.created_by))
    of_data = _make_condition(viewer, DatasetName, DatasetName.created_by)
    return [
        with_loader_criteria(Model, Model.project.in_(viewer.projects), include_aliases=True),
        with_loader_criteria(Version, Version.model.in_(models), include_aliases=True),
        with_loader_criteria(Alias, Alias.model.in_(models), include_aliases=True),
        with_loader_criteria(DatasetName, of_data, include_aliases=True),
        with_loader_criteria(Revision, Revision.dataset.in_(names), include_aliases=True),
        with_loader_criteria(Job, _make_condition(viewer, Job, Job.owner), include_aliases=True),
    ]


def _make_condition(viewer: Viewer, columns: Any, owner: Any) -> ColumnElement[bool]:  # noqa: ANN401 - of a class or a table
    """Match the rows that everyone sees, and those of the viewer's projects that are not private to somebody else."""
    is_shown = or_(columns.visibility == Visibility.PROJECT, owner == viewer.login, columns.project.in_(viewer.managed))
    return or_(columns.visibility == Visibility.EVERYONE, and_(columns.project.in_(viewer.projects), is_shown))
