"""Create, change and list users."""

import re
from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.rights import DEFAULT_PROJECT, Role
from shared.database.tables.access import Invitation, Member, User, UserKind
from shared.database.tables.base import Document, now
from shared.errors import KeyExpired, LastAdmin, LoginTaken, NotAuthenticated, UserNotFound, suggest

LOGIN = re.compile(r"(?!anonymous$)[a-z0-9][a-z0-9._-]{1,31}")
LOGIN_RULE = (
    "2 to 32 characters of a-z, 0-9, dot, hyphen and underscore, begin with a letter or a digit, and not be `anonymous`"
)


def get_user(session: Session, login: str) -> User:
    """Return a user. Raises UserNotFound."""
    user = session.get(User, login)
    if user is None:
        known = session.scalars(select(User.login).order_by(User.login).limit(1000))
        raise UserNotFound(f"There is no user {login!r}.{suggest(login, known)}")
    return user


def list_users(session: Session, after: str, limit: int) -> list[User]:
    """Return users by login, beginning after the login `after`."""
    return list(session.scalars(select(User).where(User.login > after).order_by(User.login).limit(limit)))


def has_admin(session: Session) -> bool:
    """Return whether there is an admin who is not disabled."""
    return _count_admins(session) > 0


def check_access(user: User, time: datetime) -> None:
    """Check that a user has access at a time of the database. Raises NotAuthenticated or KeyExpired."""
    if user.disabled_at is not None:
        raise NotAuthenticated(f"The user {user.login!r} is disabled. Ask an admin.")
    if user.expires_at is not None and user.expires_at <= time:
        raise KeyExpired(f"The access of {user.login!r} ended at {user.expires_at:%Y-%m-%dT%H:%M:%SZ}. Ask an admin.")


def create_service(session: Session, actor: Actor, login: str, name: str, role: Role, project: str) -> User:
    """Create a service account: the user of a program, which never signs in. Raises LoginTaken.

    An admin has no project. The project must exist.
    """
    count_change(session)
    if session.get(User, login) is not None:
        raise LoginTaken(f"There is a user {login!r} already. Choose another login.")
    user = User(login=login, name=name, kind=UserKind.SERVICE)
    add_user(session, user, role, project)
    record(session, actor, "user-created", "user", login, after={"kind": user.kind, "role": role, "project": project})
    return user


def add_user(session: Session, user: User, role: Role, project: str) -> None:
    """Add a new user with its role in a project; an admin joins none. Open invitations of the same login end."""
    session.execute(delete(Invitation).where(Invitation.login == user.login, Invitation.used_at.is_(None)))
    user.is_admin = role is Role.ADMIN
    session.add(user)
    session.flush()
    if not user.is_admin:
        session.add(Member(project=project, login=user.login, role=role))
        session.flush()


def admit_external(session: Session, actor: Actor, login: str, role: Role) -> User:
    """Return the user that a proxy names. If it comes for the first time, it is created in the default project."""
    count_change(session)
    user = session.get(User, login)
    if user is None:
        user = User(login=login, kind=UserKind.EXTERNAL)
        add_user(session, user, role, DEFAULT_PROJECT)
        record(session, actor, "user-created", "user", login, after={"kind": user.kind, "role": role})
    return user


def change_user(
    session: Session,
    actor: Actor,
    login: str,
    *,
    is_admin: bool | None = None,
    disabled: bool | None = None,
    expires_at: datetime | None = None,
) -> User:
    """Make a user an admin or not, disable or enable it, or change when its access ends. None leaves it as it is.

    The keys and sessions of a disabled user are refused until it is enabled again. Raises UserNotFound, or LastAdmin
    if no admin would be left.
    """
    count_change(session)  # two admins who disable each other wait here
    user = get_user(session, login)
    before = _describe(user)
    if is_admin is not None:
        user.is_admin = is_admin
    if disabled is not None and disabled != before["disabled"]:
        user.disabled_at = read_clock(session) if disabled else None
    if expires_at is not None:
        user.expires_at = expires_at
    lost_rights = before["admin"] and not user.is_admin
    if user.disabled_at is not None or lost_rights:  # links that an admin made do not outlive its rights
        session.execute(delete(Invitation).where(Invitation.created_by == login, Invitation.used_at.is_(None)))
    session.flush()
    if not has_admin(session):
        raise LastAdmin(f"{login!r} is the last admin. Make somebody else an admin first.")
    after = _describe(user)
    if after != before:
        record(session, actor, "user-changed", "user", login, before=before, after=after)
    return user


def _describe(user: User) -> Document:
    end = f"{user.expires_at:%Y-%m-%dT%H:%M:%SZ}" if user.expires_at is not None else None
    return {"admin": user.is_admin, "disabled": user.disabled_at is not None, "expires_at": end}


def _count_admins(session: Session) -> int:
    admins = select(func.count()).select_from(User).where(User.is_admin, User.disabled_at.is_(None))
    admins = admins.where(or_(User.expires_at.is_(None), User.expires_at > now()))
    return session.scalars(admins).one()


def read_clock(session: Session) -> datetime:
    """Return the time of the database."""
    return session.scalars(select(now())).one()
