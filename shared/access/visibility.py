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
        """Return whether the viewer sees a job. It says what `_make_job_condition` says to the database."""
        return (
            job.owner == self.login
            or job.visibility == Visibility.EVERYONE
            or (job.visibility == Visibility.PROJECT and job.project in self.projects)
            or job.project in self.managed
        )


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
    names = select(DatasetName.__table__.c.name).where(_make_dataset_condition(viewer, DatasetName.__table__.c))
    return [
        with_loader_criteria(Model, Model.project.in_(viewer.projects), include_aliases=True),
        with_loader_criteria(Version, Version.model.in_(models), include_aliases=True),
        with_loader_criteria(Alias, Alias.model.in_(models), include_aliases=True),
        with_loader_criteria(DatasetName, _make_dataset_condition(viewer, DatasetName), include_aliases=True),
        with_loader_criteria(Revision, Revision.dataset.in_(names), include_aliases=True),
        with_loader_criteria(Job, _make_job_condition(viewer), include_aliases=True),
    ]


def _make_dataset_condition(viewer: Viewer, columns: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a class or a table
    in_project = and_(columns.visibility == Visibility.PROJECT, columns.project.in_(viewer.projects))
    return or_(
        columns.created_by == viewer.login,
        columns.visibility == Visibility.EVERYONE,
        in_project,
        columns.project.in_(viewer.managed),
    )


def _make_job_condition(viewer: Viewer) -> ColumnElement[bool]:
    in_project = and_(Job.visibility == Visibility.PROJECT, Job.project.in_(viewer.projects))
    return or_(
        Job.owner == viewer.login,
        Job.visibility == Visibility.EVERYONE,
        in_project,
        Job.project.in_(viewer.managed),
    )
