"""Define the documents of users, keys, invitations and audit events."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field
from sqlalchemy.orm import Session

from api.documents.base import Document
from shared.access.invitations import Invited
from shared.access.projects import list_roles
from shared.access.rights import Role, Scope
from shared.access.users import LOGIN, LOGIN_RULE
from shared.database.tables.access import User
from shared.jobs.quotas import QuotaKind, Subject, get_quotas, measure_use


def _complete_date(value: object) -> object:
    """Add the end of the day, in UTC, to a date without a time."""
    is_date = isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None
    return f"{value}T23:59:59Z" if is_date else value


EndTime = Annotated[AwareDatetime, BeforeValidator(_complete_date)]
"""A time with its zone, or a date, which means its end in UTC: `2027-07-31T12:00:00+09:00`, or `2027-07-31`."""


def _check_login(login: str) -> str:
    if LOGIN.fullmatch(login) is None:
        raise ValueError(f"A login must have {LOGIN_RULE}.")
    return login


def _check_name(name: str) -> str:
    if not name.isprintable():
        raise ValueError("A name must have visible characters only.")
    return name


Login = Annotated[str, Field(max_length=255, description=f"It must have {LOGIN_RULE}."), AfterValidator(_check_login)]
PersonName = Annotated[str, Field(max_length=200), AfterValidator(_check_name)]


class KeyDocument(Document):
    """A key, without its secret."""

    id: str = Field(description="The 8 characters after `ty_`, by which the key can be recognised.")
    login: str = Field(description="The user of the key.")
    name: str
    last4: str = Field(description="The last four characters of the key.")
    scopes: list[Scope]
    models: list[str] | None = Field(description="Patterns of the models that it may ask; null for all.")
    rate: int | None = Field(description="Requests a second that each process answers; null: no limit.")
    created_at: datetime
    expires_at: datetime | None = Field(description="Null: never.")
    revoked_at: datetime | None
    previous_until: datetime | None = Field(description="The secret before the last rotation is valid until then.")
    last_used_at: datetime | None = Field(description="At most about a minute before its last use.")
    last_used_from: str | None = Field(description="The address of the client that used it last.")


class NewKeyDocument(KeyDocument):
    """A key with its secret, which is shown only this once."""

    key: str


class KeyList(Document):
    keys: list[KeyDocument]


class UserDocument(Document):
    """A user. `external` is the owner of jobs from before people signed in."""

    login: str
    name: str
    kind: str
    is_admin: bool
    projects: dict[str, Role] = Field(description="The roles by project.")
    created_at: datetime
    expires_at: datetime | None = Field(description="No key of the user is valid after this time; null: no limit.")
    disabled_at: datetime | None
    issuer: str | None = Field(description="The OpenID provider with which the user signs in; null: only with keys.")


class UserList(Document):
    users: list[UserDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last page.")


class InvitationDocument(Document):
    """An open invitation."""

    id: str
    login: str
    name: str
    role: Role
    project: str
    created_by: str
    created_at: datetime
    expires_at: datetime


class InvitationPreview(Document):
    """What an invitation gives. An admin joins no project; a reset gives a user a new key."""

    login: str
    name: str
    role: Role
    project: str
    expires_at: datetime
    is_reset: bool


class InvitationList(Document):
    invitations: list[InvitationDocument]


class LinkDocument(Document):
    """The invitation of one person. `link` is shown only this once; null for who is a user already."""

    login: str
    name: str
    role: Role
    project: str | None = Field(description="Null for an admin.")
    joined: bool
    link: str | None
    expires_at: datetime | None = Field(description="When the link ends.")


def format_link(made: Invited, address: str) -> LinkDocument:
    """Build the document of an invitation. `address` is that of the service, with `/` at its end."""
    guest = made.guest
    return LinkDocument(
        login=guest.login,
        name=guest.name,
        role=guest.role,
        project=guest.project if guest.role is not Role.ADMIN else None,
        joined=made.token is None,
        link=f"{address}ui/join#{made.token}" if made.token is not None else None,
        expires_at=made.expires_at,
    )


class LinkList(Document):
    invitations: list[LinkDocument]


class Accepted(Document):
    """A new user with its first key, which is shown only this once."""

    user: UserDocument
    key: NewKeyDocument


class ProjectDocument(Document):
    """A project. `role` is that of the caller in it."""

    name: str
    description: str
    role: Role
    created_at: datetime
    archived_at: datetime | None = Field(description="Since when its members can only read; null if they can work.")


class ProjectList(Document):
    projects: list[ProjectDocument]


class MemberDocument(Document):
    """A user in a project."""

    login: str
    name: str
    role: Role
    created_at: datetime
    disabled: bool


class MemberList(Document):
    members: list[MemberDocument]


def format_users(session: Session, found: Sequence[User]) -> list[UserDocument]:
    """Build the documents of users."""
    roles = list_roles(session, [user.login for user in found])
    fields = [name for name in UserDocument.model_fields if name != "projects"]
    return [
        UserDocument(**{name: getattr(user, name) for name in fields}, projects=roles[user.login]) for user in found
    ]


class Quotas(Document):
    """The limits of a user or a project. Null: no limit, or for jobs of a user that of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_jobs: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    running_jobs: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="Only of a user.")] = None
    device_minutes: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, description="In the last seven days. Running jobs go on.")
    ] = None
    stored_bytes: Annotated[int | None, Field(ge=0, le=2**62, description="The files of data sets and versions.")] = (
        None
    )

    def to_limits(self) -> dict[QuotaKind, int]:
        return {QuotaKind(kind): most for kind, most in self.model_dump(exclude_none=True).items()}


class QuotaUse(Document):
    """What a user or a project has now, and has used in the last seven days."""

    queued_jobs: int
    running_jobs: int
    device_minutes: float
    stored_bytes: int


class QuotaDocument(Document):
    """The quotas of a user or a project, and what it uses of them."""

    quotas: Quotas
    use: QuotaUse


class UsageRow(Document):
    """What somebody has used in a project: the number of attempts, and the minutes for which they held a device."""

    owner: str
    project: str
    attempts: int
    device_minutes: float


class UsageList(Document):
    since: datetime
    usage: list[UsageRow]


def format_quotas(session: Session, subject: Subject) -> QuotaDocument:
    """Build the document of the quotas of a user or a project."""
    use = measure_use(session, subject)
    return QuotaDocument(
        quotas=Quotas(**{kind.value: most for kind, most in get_quotas(session, subject).items()}),
        use=QuotaUse(**{**vars(use), "device_minutes": round(use.device_minutes, 2)}),
    )


class AuditEventDocument(Document):
    """A change that somebody made."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    via: str
    action: str
    object_kind: str
    object: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None
    address: str | None


class AuditList(Document):
    events: list[AuditEventDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last page.")


class AuditArchiveDocument(Document):
    """A file with audit events that are no longer in the database."""

    first_id: int
    last_id: int
    first_at: datetime
    last_at: datetime
    events: int
    sha256: str
    size: int = Field(description="Bytes.")


class AuditArchiveList(Document):
    archives: list[AuditArchiveDocument]
