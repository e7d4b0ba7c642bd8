"""Check what a caller may do with an object of somebody else, in the transaction that acts."""

from uuid import UUID

from sqlalchemy.orm import Session

from api.access.callers import get_caller, make_actor
from shared.access import audit, names
from shared.access.rights import Scope
from shared.database.tables.base import Document
from shared.database.tables.datasets import DatasetName
from shared.database.tables.jobs import Job, JobKind
from shared.database.tables.registry import Model
from shared.errors import NotAllowed
from shared.jobs import queries


def check_job(session: Session, job_id: UUID, action: str) -> None:
    """Check that the caller may change a job: its own, or with the scope `manage` that of another user.

    A change of another user's job is recorded as `action`. Raises JobNotFound or NotAllowed.
    """
    caller = get_caller()
    if caller.via == "open":
        return
    owner = queries.get_job(session, job_id).owner
    if owner == caller.login:
        return
    if not caller.may(Scope.MANAGE):
        raise NotAllowed(f"The job belongs to {owner!r}. Only its owner and maintainers may change it.")
    audit.record(session, make_actor(), action, "job", str(job_id), before={"owner": owner})


def check_priority(priority: int | None) -> None:
    """Check that the caller may give a job a priority. Above 0, it needs the scope `admin`. Raises NotAllowed."""
    if priority is not None and priority > 0:
        get_caller().check(Scope.ADMIN)


def limit_priority(job: Job) -> None:
    """Take a priority above 0 from a job that repeats another one, unless the caller may give it."""
    if not get_caller().may(Scope.ADMIN):
        job.priority = min(job.priority, 0)


def claim_repeated(session: Session, job_id: UUID) -> None:
    """Reserve the name under which a retry of a job publishes. Raises JobNotFound or NameTaken."""
    job = queries.get_job(session, job_id)
    if job.kind in (JobKind.TRAINING, JobKind.IMPORT) and job.reproduces is None:
        claim_model(session, job.model)


def claim_model(session: Session, model: str) -> None:
    """Reserve the name of a model for the caller, in the transaction that creates its job. Raises NameTaken."""
    _claim(session, Model, model)


def check_model_name(session: Session, model: str) -> None:
    """Check that the caller may publish under a name, without reserving it. Raises NameTaken."""
    caller = get_caller()
    if caller.via != "open":
        names.check_name(session, Model, model, caller.login, may_use_all=caller.may(Scope.MANAGE))


def claim_dataset(session: Session, name: str) -> None:
    """Reserve the name of a data set for the caller, in the transaction that adds its revision. Raises NameTaken."""
    _claim(session, DatasetName, name)


def _claim(session: Session, table: names.Named, name: str) -> None:
    caller = get_caller()
    if caller.via != "open":
        names.claim_name(session, table, name, caller.login, may_use_all=caller.may(Scope.MANAGE))


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
