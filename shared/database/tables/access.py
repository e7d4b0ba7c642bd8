"""Define the tables of users, projects, keys, browser sessions, invitations, and audit events."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Document, now


class UserKind(StrEnum):
    """Kind of a user. `external`: an owner of jobs from before there were users. A `service` is a program."""

    PERSON = "person"
    SERVICE = "service"
    EXTERNAL = "external"


class User(Base):
    """A user. `login` is also the name of the owner of the jobs that the user submits.

    Attributes:
        is_admin: whether the user may do everything, in all projects.
        issuer: the OpenID provider with which the user signs in, and `subject` the user there; None for nobody.
        expires_at: no key of the user is valid after this time, such as the end of a course; None for no limit.
    """

    __tablename__ = "users"
    __table_args__ = (Index("uq_users_issuer_subject", "issuer", "subject", unique=True),)

    login: Mapped[str] = mapped_column(String(255), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    kind: Mapped[str] = mapped_column(String(20), default=UserKind.PERSON)
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now())
    expires_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    issuer: Mapped[str | None] = mapped_column(String(500))
    subject: Mapped[str | None] = mapped_column(String(255))


class Project(Base):
    """A group of users with their models, data sets and jobs, such as a class. It is never deleted.

    Attributes:
        archived_at: since when its members can only read; None if they can work.
    """

    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now())
    archived_at: Mapped[datetime | None]


class Member(Base):
    """A user in a project, with the role that it has there."""

    __tablename__ = "members"
    __table_args__ = (Index(None, "login"),)

    project: Mapped[str] = mapped_column(ForeignKey("projects.name"), primary_key=True)
    login: Mapped[str] = mapped_column(ForeignKey("users.login"), primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(default=now())


class Key(Base):
    """A key of a user. The secret itself is not stored.

    Attributes:
        secret_sha256: sha256 of the whole text of the key.
        previous_sha256: that of the text before the last rotation, which is valid until `previous_until`.
        last4: the last four characters, by which a person recognises the key.
        scopes: what the key may do, of all that its user may.
        models: patterns of the names of models that it may ask, such as `digits-*`; None for all.
        rate: how many requests a second each process of the API answers; None for no limit.
        last_used_at: a time not more than about a minute before its last use.
    """

    __tablename__ = "keys"
    __table_args__ = (Index(None, "login"),)

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    login: Mapped[str] = mapped_column(ForeignKey("users.login"))
    name: Mapped[str] = mapped_column(String(100))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    previous_until: Mapped[datetime | None]
    last4: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[list[str]]
    models: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    rate: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_from: Mapped[str | None] = mapped_column(String(45))


class BrowserSession(Base):
    """A browser that is signed in: with a key, whose rights it has and with which it ends, or as a user.

    `seen_at` is a time not more than about a minute before its last request.
    """

    __tablename__ = "browser_sessions"
    __table_args__ = (Index(None, "key_id"), Index(None, "login"))

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(ForeignKey("users.login"))
    key_id: Mapped[str | None] = mapped_column(ForeignKey("keys.id"))
    created_at: Mapped[datetime] = mapped_column(default=now())
    seen_at: Mapped[datetime] = mapped_column(default=now())


class Invitation(Base):
    """A link with which a person becomes a user, or gets a new key, once.

    `role` is that in `project`. An admin is in no project, and has all of them.
    """

    __tablename__ = "invitations"
    __table_args__ = (Index(None, "login"),)

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    login: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(200), default="")
    role: Mapped[str] = mapped_column(String(20))
    project: Mapped[str] = mapped_column(ForeignKey("projects.name"))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now())
    expires_at: Mapped[datetime]
    user_expires_at: Mapped[datetime | None]  # `User.expires_at` of who accepts
    used_at: Mapped[datetime | None]
    is_reset: Mapped[bool] = mapped_column(default=False)  # whether it gives a user new keys


class AccessState(Base):
    """One row, with a number that each change of users, keys, sessions and rights increases."""

    __tablename__ = "access_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)


class AuditEvent(Base):
    """A change that somebody made, written in the transaction of the change.

    Triggers of the database refuse to change a row, and to delete one that is younger than 400 days.

    Attributes:
        via: `key`, `session`, `proxy`, `invitation`, `identity` or `command`.
        object_kind: the kind of what was changed, such as `job`.
        object: its name or id.
        before: what it was, as far as it tells something; None for new things.
        after: what it is now; None for deleted things.
    """

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "at"), Index(None, "actor", "id"), Index(None, "object_kind", "object", "id"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now())
    actor: Mapped[str] = mapped_column(String(255))
    key_id: Mapped[str | None] = mapped_column(String(8))
    via: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(50))
    object_kind: Mapped[str] = mapped_column(String(20))
    object: Mapped[str] = mapped_column(String(300))
    before: Mapped[Document | None]
    after: Mapped[Document | None]
    request_id: Mapped[str | None] = mapped_column(String(200))
    address: Mapped[str | None] = mapped_column(String(45))


class AuditArchive(Base):
    """A file with old audit events, in lines of JSON, which are no longer in the database.

    Attributes:
        first_id: the number of its first event; `last_id` that of its last one.
        first_at: the time of its oldest event; `last_at` that of its newest one.
        sha256: its file in the artifact store.
        size: bytes of the file.
    """

    __tablename__ = "audit_archives"
    __table_args__ = (Index(None, "sha256"),)

    first_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    events: Mapped[int]
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size: Mapped[int] = mapped_column(BigInteger)
