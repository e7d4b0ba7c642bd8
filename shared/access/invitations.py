"""Invite people, and make users of those who accept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.key_text import compute_digest, make_id, make_token
from shared.access.keys import KeyRequest, create_key, list_keys, revoke_key
from shared.access.rights import Role
from shared.access.users import get_user
from shared.database.tables.access import Invitation, Key, User, UserKind
from shared.database.tables.base import now
from shared.errors import InvalidRequest, InvitationNotFound, InvitationUnusable

MAX_ROWS = 500
DEFAULT_HOURS = 7 * 24
FIRST_KEY = "first key"


@dataclass(frozen=True)
class Guest:
    """A person to invite.

    Attributes:
        expires_at: when the access of the user ends, such as the end of a course; None for no limit.
    """

    login: str
    name: str
    role: Role
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Invited:
    """A guest with the token of the new link.

    Attributes:
        token: None for one who has joined before, and needs no link. `guest` then has what the user is.
        expires_at: when the link ends.
    """

    guest: Guest
    token: str | None
    expires_at: datetime | None


def invite(session: Session, actor: Actor, guests: Sequence[Guest], hours: float = DEFAULT_HOURS) -> list[Invited]:
    """Invite guests. A guest who has not accepted an earlier link gets a new one, and the earlier one ends.

    A guest who is a user already is left as it is. `hours` is how long the links are valid.
    """
    count_change(session)
    expires_at = session.scalars(select(now(hours * 3600))).one()
    return [_invite(session, actor, guest, expires_at) for guest in guests]


def reset(session: Session, actor: Actor, login: str, hours: float = 24) -> Invited:
    """Make a link with which a user gets a new key. Its keys end when the link is used.

    Raises UserNotFound, or InvalidRequest for a disabled user.
    """
    count_change(session)
    user = get_user(session, login)
    if user.disabled_at is not None:
        raise InvalidRequest(f"The user {login!r} is disabled. Enable it first.")
    guest = Guest(login, user.name, Role(user.role), user.expires_at)
    return _make_link(session, actor, guest, session.scalars(select(now(hours * 3600))).one(), "user-reset")


def accept(session: Session, actor_address: str | None, request_id: str | None, token: str) -> tuple[User, Key, str]:
    """Make a user of a guest. Returns the user, its first key and the text of the key.

    Raises InvitationUnusable if the link was used, has expired, was withdrawn or never existed.
    """
    count_change(session)  # of two who use one link, the second waits here, and then finds it used
    invitation = session.scalars(
        select(Invitation).where(
            Invitation.token_sha256 == compute_digest(token),
            Invitation.used_at.is_(None),
            Invitation.expires_at > now(),
            or_(Invitation.user_expires_at.is_(None), Invitation.user_expires_at > now()),
        )
    ).one_or_none()
    user = session.get(User, invitation.login) if invitation is not None else None
    if invitation is None or (user is not None and user.disabled_at is not None):
        raise InvitationUnusable(
            "The link was used already, has expired, or was withdrawn. Ask the person who sent it for a new one."
        )
    invitation.used_at = session.scalars(select(now())).one()
    actor = Actor(invitation.login, "invitation", None, request_id, actor_address)
    if user is None:
        user = User(login=invitation.login, name=invitation.name, kind=UserKind.PERSON, role=invitation.role)
        session.add(user)
        session.flush()
    elif user.kind == UserKind.EXTERNAL:
        user.kind, user.name, user.role = UserKind.PERSON, invitation.name, invitation.role
    else:
        for key in list_keys(session, user.login):
            revoke_key(session, actor, key)
    user.expires_at = invitation.user_expires_at
    record(session, actor, "invitation-accepted", "user", user.login, after={"role": user.role})
    key, text = create_key(session, actor, user, KeyRequest(FIRST_KEY, expires_at=user.expires_at))
    return user, key, text


def list_invitations(session: Session) -> list[Invitation]:
    """Return the invitations that were neither used nor have expired, by login."""
    open_ones = select(Invitation).where(Invitation.used_at.is_(None), Invitation.expires_at > now())
    return list(session.scalars(open_ones.order_by(Invitation.login)))


def withdraw(session: Session, actor: Actor, invitation_id: str) -> None:
    """Withdraw an invitation. Raises InvitationNotFound if there is none, or it was used."""
    count_change(session)
    invitation = session.get(Invitation, invitation_id)
    if invitation is None or invitation.used_at is not None:
        raise InvitationNotFound(f"There is no open invitation {invitation_id!r}. GET /api/v1/invitations lists them.")
    session.delete(invitation)
    record(session, actor, "invitation-withdrawn", "user", invitation.login)


def _invite(session: Session, actor: Actor, guest: Guest, expires_at: datetime) -> Invited:
    user = session.get(User, guest.login)
    if user is not None and user.kind != UserKind.EXTERNAL:
        return Invited(Guest(user.login, user.name, Role(user.role), user.expires_at), None, None)
    return _make_link(session, actor, guest, expires_at, "invited")


def _make_link(session: Session, actor: Actor, guest: Guest, expires_at: datetime, action: str) -> Invited:
    """Make a link for a guest. Open links of the same login end."""
    session.execute(delete(Invitation).where(Invitation.login == guest.login, Invitation.used_at.is_(None)))
    token = make_token()
    session.add(
        Invitation(
            id=make_id(),
            token_sha256=compute_digest(token),
            login=guest.login,
            name=guest.name,
            role=guest.role,
            created_by=actor.login,
            expires_at=expires_at,
            user_expires_at=guest.expires_at,
        )
    )
    session.flush()
    record(session, actor, action, "user", guest.login, after={"role": guest.role})
    return Invited(guest, token, expires_at)
