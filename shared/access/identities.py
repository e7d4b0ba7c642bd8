"""Connect users with their accounts at an OpenID provider, and find and admit them by these."""

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.browser_sessions import end_sessions
from shared.access.projects import check_open, get_project
from shared.access.rights import DEFAULT_PROJECT, Role
from shared.access.users import LOGIN, add_user
from shared.database.tables.access import Invitation, User, UserKind
from shared.database.tables.base import now
from shared.errors import IdentityTaken, LoginTaken

MAX_NAME = 200
_NOT_IN_LOGINS = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class Identity:
    """An account at an OpenID provider, known by issuer and subject. Names and e-mail addresses can change hands.

    Attributes:
        username: what the provider proposes as a login; empty for nothing.
        name: the name of the person; empty if the provider does not tell it.
    """

    issuer: str
    subject: str
    username: str = ""
    name: str = ""


def find_user(session: Session, identity: Identity) -> User | None:
    """Return the user that is connected with an identity; None for nobody."""
    mine = select(User).where(User.issuer == identity.issuer, User.subject == identity.subject)
    return session.scalars(mine).one_or_none()


def connect(session: Session, actor: Actor, user: User, identity: Identity) -> None:
    """Connect a user with an identity, in place of an earlier one. Raises IdentityTaken if another user has it."""
    count_change(session)
    holder = find_user(session, identity)
    if holder is user:
        return
    if holder is not None:
        raise IdentityTaken(
            f"This account is that of the user {holder.login!r} already. Sign in with it, or choose another account."
        )
    before = _describe(user)
    user.issuer, user.subject = identity.issuer, identity.subject
    end_sessions(session, user.login, with_key=False)
    session.flush()
    record(session, actor, "identity-connected", "user", user.login, before=before, after=_describe(user))


def disconnect(session: Session, actor: Actor, user: User) -> None:
    """End the connection of a user with its identity, and the sessions that came of it. A second call has no effect."""
    if user.issuer is None:
        return
    count_change(session)
    before = _describe(user)
    user.issuer = user.subject = None
    end_sessions(session, user.login, with_key=False)
    record(session, actor, "identity-disconnected", "user", user.login, before=before)


def admit(session: Session, address: str | None, request_id: str | None, identity: Identity, role: Role) -> User:
    """Make a user of an identity that comes for the first time, with a role in the default project.

    It is external until it accepts an invitation: its name is what the provider says, and maybe what it chose itself.
    Raises LoginTaken if its name is that of somebody else, who is never taken over, or if it is no login; and
    ProjectArchived.
    """
    count_change(session)  # of two who come at once, the second waits here, and then finds the user
    user = find_user(session, identity)
    if user is not None:
        return user
    login = _NOT_IN_LOGINS.sub("-", identity.username.partition("@")[0].lower())
    if LOGIN.fullmatch(login) is None:
        raise LoginTaken("Your account has no name that can be a login here. Ask an admin for a link to join.")
    invited = select(Invitation.id).where(
        Invitation.login == login, Invitation.used_at.is_(None), Invitation.expires_at > now()
    )
    if session.get(User, login) is not None or session.scalars(invited).first() is not None:
        raise LoginTaken(
            f"The login {login!r} is that of somebody else, or is kept for who was invited. If you are it, open your "
            "link, or sign in with your key and connect your account there. If not, ask an admin for a link to join."
        )
    check_open(get_project(session, DEFAULT_PROJECT, None))
    user = User(login=login, name=clean_name(identity.name), kind=UserKind.EXTERNAL)
    add_user(session, user, role, DEFAULT_PROJECT)
    actor = Actor(login, "identity", None, request_id, address)
    record(session, actor, "user-created", "user", login, after={"kind": user.kind, "role": role})
    connect(session, actor, user, identity)
    return user


def clean_name(name: str) -> str:
    """Remove what cannot be shown from the name of a person, and shorten it."""
    return "".join(character for character in name if character.isprintable())[:MAX_NAME]


def _describe(user: User) -> dict[str, str] | None:
    return {"issuer": user.issuer, "subject": user.subject or ""} if user.issuer is not None else None
