"""Check what a caller may do with an object of somebody else, in the transaction that acts."""

from uuid import UUID

from sqlalchemy.orm import Session

from api.access.callers import get_caller, make_actor
from shared.access import audit
from shared.access.rights import Scope
from shared.database.tables.base import Document
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


def record(
    session: Session, action: str, kind: str, name: str, before: Document | None = None, after: Document | None = None
) -> None:
    """Record a change that the caller of the request makes. Where nobody signs in, nothing is recorded."""
    if get_caller().via != "open":
        audit.record(session, make_actor(), action, kind, name, before=before, after=after)
