"""Check what a caller may do with an object of somebody else, in the transaction that acts."""

from uuid import UUID

from sqlalchemy.orm import Session

from api.access.callers import get_caller, make_actor
from shared.access import audit, names, projects
from shared.access.rights import DEFAULT_PROJECT, Scope
from shared.database.tables.base import Document
from shared.database.tables.datasets import DatasetName
from shared.database.tables.jobs import Job, JobKind
from shared.database.tables.registry import Model
from shared.errors import NotAllowed
from shared.jobs import queries
from shared.registry import pretrained
from shared.spec.training import TrainingSpec


def check_job(session: Session, job_id: UUID, action: str | None) -> None:
    """Check that the caller may change a job in its project: its own, or with the scope `manage` that of another user.

    A change of another user's job is recorded as `action`, unless it is None. Raises JobNotFound or NotAllowed.
    """
    caller = get_caller()
    if caller.via == "open":
        return
    job = queries.get_job(session, job_id)
    if job.owner == caller.login:
        caller.check(Scope.TRAIN, job.project)
        return
    if not caller.may(Scope.MANAGE, job.project):
        raise NotAllowed(f"The job belongs to {job.owner!r}. Only its owner and maintainers may change it.")
    if action is not None:
        audit.record(session, make_actor(), action, "job", str(job_id), before={"owner": job.owner})


def check_dataset(session: Session, reference: str) -> None:
    """Check that the caller may delete or hide a data set: with the scope `manage` in its project.

    `reference` is its name, or `name@revision`. Raises NotAllowed. A data set that does not exist passes.
    """
    caller = get_caller()
    found = session.get(DatasetName, reference.partition("@")[0])
    if caller.via != "open" and found is not None and not caller.may(Scope.MANAGE, found.project):
        raise NotAllowed(f"The data set belongs to the project {found.project!r}. Only its maintainers may change it.")


def choose_new_project(session: Session, name: str) -> str:
    """Return the project to which something is moved, as an admin may do. Raises NotAllowed, ProjectNotFound."""
    get_caller().check(Scope.ADMIN)
    return projects.get_project(session, name, None).name


def check_priority(priority: int | None) -> None:
    """Check that the caller may give a job a priority. Above 0, it needs the scope `admin`. Raises NotAllowed."""
    if priority is not None and priority > 0:
        get_caller().check(Scope.ADMIN)


def limit_priority(job: Job) -> None:
    """Take a priority above 0 from a job that repeats another one, unless the caller may give it."""
    if not get_caller().may(Scope.ADMIN):
        job.priority = min(job.priority, 0)


def claim_repeated(session: Session, job_id: UUID) -> None:
    """Check that the caller may train in the project of a job, and reserve the name under which its retry publishes.

    Raises JobNotFound, NotAllowed, NameTaken, or InvalidRequest if the version that it starts from is not to be seen.
    """
    job = queries.get_job(session, job_id)
    get_caller().check(Scope.TRAIN, job.project)
    if job.kind == JobKind.TRAINING:
        pretrained.find_pretrained(session, TrainingSpec.model_validate(job.spec).network)  # is it still to be seen
    if job.kind in (JobKind.TRAINING, JobKind.IMPORT) and job.reproduces is None:
        claim_model(session, job.model)


def claim_model(session: Session, model: str, project: str | None = None) -> None:
    """Reserve the name of a model for the caller, in the transaction that creates its job.

    `project` is that of a new name, as in `Caller.choose_project`. Raises NameTaken, ProjectNotFound or NotAllowed.
    """
    _claim(session, Model, model, project)


def check_model_name(session: Session, model: str, project: str | None = None) -> None:
    """Check that the caller may publish under a name, without reserving it. Raises what `claim_model` raises."""
    if get_caller().via != "open":
        names.check_name(session, Model, model, _make_claimant(session, project))


def claim_dataset(session: Session, name: str, project: str | None = None) -> None:
    """Reserve the name of a data set for the caller, in the transaction that adds its revision.

    Raises what `claim_model` raises.
    """
    _claim(session, DatasetName, name, project)


def _claim(session: Session, table: names.Named, name: str, project: str | None) -> None:
    if get_caller().via != "open":
        names.claim_name(session, table, name, _make_claimant(session, project))


def _make_claimant(session: Session, project: str | None) -> names.Claimant:
    """Describe the caller who uses a name. Raises ProjectNotFound or NotAllowed for a project that it may not use."""
    caller = get_caller()
    chosen = caller.choose_project(project) or DEFAULT_PROJECT
    found = projects.get_project(session, chosen, None if caller.sees_all else caller.roles)
    caller.check(Scope.TRAIN, found.name)
    projects.check_open(found)
    return names.Claimant(
        caller.login,
        found.name,
        is_chosen=project is not None,
        may_train=lambda name: caller.may(Scope.TRAIN, name),
        may_manage=lambda name: caller.may(Scope.MANAGE, name),
    )


def choose_model_name(model: str, *, per_user: bool) -> str:
    """Return the name under which a caller publishes: with `per_user`, a member's own, such as `mnist-cnn.ada`."""
    caller = get_caller()
    if not per_user or caller.via == "open" or caller.may(Scope.MANAGE):
        return model
    return names.make_own_name(model, caller.login)


def record(
    session: Session, action: str, kind: str, name: str, before: Document | None = None, after: Document | None = None
) -> None:
    """Record a change that the caller of the request makes. Where nobody signs in, nothing is recorded."""
    if get_caller().via != "open":
        audit.record(session, make_actor(), action, kind, name, before=before, after=after)
