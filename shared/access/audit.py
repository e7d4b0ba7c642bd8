"""Write audit events, each in the transaction of the change that it tells, and list them."""

import json
from dataclasses import dataclass
from datetime import UTC

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.database.tables.access import AccessState, AuditArchive, AuditEvent
from shared.database.tables.base import Document
from shared.errors import FileNotFound

MAX_OBJECT = 300


@dataclass(frozen=True)
class Actor:
    """Who makes a change, and on which way.

    Attributes:
        via: `key`, `session`, `proxy`, `invitation`, `identity` or `command`.
        address: the address of the client; None for a command.
    """

    login: str
    via: str
    key_id: str | None = None
    request_id: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class AuditFilters:
    """The limits of a list of audit events; None for everything."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None


def record(
    session: Session,
    actor: Actor,
    action: str,
    kind: str,
    name: str,
    *,
    before: Document | None = None,
    after: Document | None = None,
) -> None:
    """Write an audit event. `kind` and `name` are those of the object that was changed, such as `job` and its id.

    `before` and `after` must contain neither secrets nor bodies of requests.
    """
    session.add(
        AuditEvent(
            actor=actor.login,
            key_id=actor.key_id,
            via=actor.via,
            action=action,
            object_kind=kind,
            object=name[:MAX_OBJECT],
            before=before,
            after=after,
            request_id=actor.request_id,
            address=actor.address,
        )
    )


def list_events(session: Session, filters: AuditFilters, before_id: int | None, limit: int) -> list[AuditEvent]:
    """Return audit events, the newest first. `before_id` is the number after the newest of them; None for the newest.

    `filters.object` is the name of an object, or its kind, a colon and its name.
    """
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(AuditEvent.id < before_id)
    if filters.actor is not None:
        query = query.where(AuditEvent.actor == filters.actor)
    if filters.action is not None:
        query = query.where(AuditEvent.action == filters.action)
    if filters.object is not None:
        kind, separator, name = filters.object.partition(":")
        query = query.where(AuditEvent.object == (name if separator else kind))
        if separator:
            query = query.where(AuditEvent.object_kind == kind)
    return list(session.scalars(query))


def count_change(session: Session) -> None:
    """Count a change of users, keys or sessions, so that every API process forgets the callers that it knows.

    It also makes such changes wait for each other until the end of the transaction.
    """
    session.execute(update(AccessState).values(generation=AccessState.generation + 1))


def read_generation(session: Session) -> int:
    """Return the number of changes that `count_change` counted."""
    return session.scalars(select(AccessState.generation)).one()


def write_line(event: AuditEvent) -> str:
    """Write an audit event as a line of JSON, with its end."""
    fields = {column.key: getattr(event, column.key) for column in AuditEvent.__table__.columns}
    time = event.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"{json.dumps({**fields, 'at': time}, ensure_ascii=False)}\n"


def list_archives(session: Session) -> list[AuditArchive]:
    """Return the files with old audit events, the newest first."""
    return list(session.scalars(select(AuditArchive).order_by(AuditArchive.first_id.desc())))


def get_archive(session: Session, first_id: int) -> AuditArchive:
    """Return the file with old audit events that begins with the event `first_id`. Raises FileNotFound."""
    archive = session.get(AuditArchive, first_id)
    if archive is None:
        raise FileNotFound(f"No file of old events begins with {first_id}. GET /api/v1/audit/archives lists them.")
    return archive
