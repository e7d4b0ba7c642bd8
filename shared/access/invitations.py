"""Invite people, and make users of those who accept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.identities import disconnect
from shared.access.key_text import compute_digest, make_id, make_token
from shared.access.keys import KeyRequest, create_key, list_keys, revoke_key
from shared.access.projects import check_open, find_standing, get_project, set_member
from shared.access.rights import DEFAULT_PROJECT, Role
from shared.access.users import add_user, get_user, read_clock
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
        role: the role in `project`; an admin joins no project.
        expires_at: when the access of the user ends, such as the end of a course; None for no limit.
    """

    login: str
    name: str
    role: Role
    expires_at: datetime | None = None
    project: str = DEFAULT_PROJECT


@dataclass(frozen=True)
class Invited:
    """A guest with the token of the new link.

    Attributes:
        token: None for one who is a user already, and needs no link.
        expires_at: when the link ends.
    """

    guest: Guest
    token: str | None
    expires_at: datetime | None


def invite(session: Session, actor: Actor, guests: Sequence[Guest], hours: float = DEFAULT_HOURS) -> list[Invited]:
    """Invite guests to projects. One who has not accepted an earlier link gets a new one, and the earlier one ends.

    A guest who is a user already joins the project at once; if it is a member, it stays as it is. `hours` is how long
    the links are valid. Raises ProjectNotFound or ProjectArchived.
    """
    count_change(session)
    for name in {guest.project for guest in guests}:
        check_open(get_project(session, name, None))
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
    standing = find_standing(session, user)
    project, role = next(iter(standing.roles.items()), (DEFAULT_PROJECT, Role.VIEWER))
    guest = Guest(login, user.name, Role.ADMIN if user.is_admin else role, user.expires_at, project)
    expires_at = session.scalars(select(now(hours * 3600))).one()
    return _make_link(session, actor, guest, expires_at, "user-reset", is_reset=True)


def accept(session: Session, address: str | None, request_id: str | None, token: str) -> User:
    """Make a user of a guest, or end what a user had who lost its keys. Returns the user, who has no key yet.

    Raises InvitationUnusable if the link was used, has expired, was withdrawn or never existed.
    """
    count_change(session)  # of two who use one link, the second waits here, and then finds it used
    invitation, time = find_usable(session, token), read_clock(session)
    user = session.get(User, invitation.login)
    invitation.used_at = time
    actor = Actor(invitation.login, "invitation", None, request_id, address)
    role = Role(invitation.role)
    if user is None:
        user = User(login=invitation.login, name=invitation.name, kind=UserKind.PERSON)
        add_user(session, user, role, invitation.project)
    elif user.kind == UserKind.EXTERNAL:
        _end_access(session, actor, user)
        user.kind, user.name, user.is_admin = UserKind.PERSON, invitation.name, role is Role.ADMIN
        if role is not Role.ADMIN:
            set_member(session, actor, invitation.project, user.login, role)
    else:
        _end_access(session, actor, user)
    if not invitation.is_reset:
        user.expires_at = invitation.user_expires_at
    record(
        session, actor, "invitation-accepted", "user", user.login, after={"role": role, "project": invitation.project}
    )
    return user


def _end_access(session: Session, actor: Actor, user: User) -> None:
    """End all ways in which somebody could sign in as a user until now."""
    for key in list_keys(session, user.login):
        revoke_key(session, actor, key)
    disconnect(session, actor, user)


def find_usable(session: Session, token: str) -> Invitation:
    """Return the invitation of a link.

    Raises InvitationUnusable if the link was used, has expired, was withdrawn or never existed.
    """
    invitation = session.scalars(
        select(Invitation).where(
            Invitation.token_sha256 == compute_digest(token),
            Invitation.used_at.is_(None),
            Invitation.expires_at > now(),
            or_(Invitation.user_expires_at.is_(None), Invitation.user_expires_at > now()),
        )
    ).one_or_none()
    user = session.get(User, invitation.login) if invitation is not None else None
    if invitation is None or not _is_usable(invitation, user, read_clock(session)):
        raise InvitationUnusable(
            "The link was used already, has expired, or was withdrawn. Ask the person who sent it for a new one."
        )
    return invitation


def create_first_key(session: Session, actor: Actor, user: User) -> tuple[Key, str]:
    """Create the key of a user who has accepted an invitation. Returns it with its text, shown only once."""
    return create_key(session, actor, user, KeyRequest(FIRST_KEY, expires_at=user.expires_at))


def _is_usable(invitation: Invitation, user: User | None, time: datetime) -> bool:
    """Return whether a link still fits its user: one of an invitation never gives the keys of somebody who has some."""
    if user is None:
        return not invitation.is_reset
    if user.disabled_at is not None:
        return False
    if invitation.is_reset:
        return user.expires_at is None or user.expires_at > time
    return user.kind == UserKind.EXTERNAL


def list_open(session: Session, login: str) -> list[Invitation]:
    """Return the invitations of somebody that were neither used nor have expired."""
    mine = select(Invitation).where(Invitation.login == login, Invitation.used_at.is_(None))
    return list(session.scalars(mine.where(Invitation.expires_at > now())))


def list_invitations(session: Session, projects: Collection[str] | None) -> list[Invitation]:
    """Return the invitations that were neither used nor have expired, by login. `projects` of them; None for all."""
    open_ones = select(Invitation).where(Invitation.used_at.is_(None), Invitation.expires_at > now())
    if projects is not None:
        open_ones = open_ones.where(*_limit(projects))
    return list(session.scalars(open_ones.order_by(Invitation.login)))


def _limit(projects: Collection[str]) -> list[ColumnElement[bool]]:
    """Match the invitations that maintainers of projects may see: neither those of admins nor new keys of users."""
    return [Invitation.project.in_(projects), Invitation.role != Role.ADMIN, Invitation.is_reset.is_(False)]


def withdraw(session: Session, actor: Actor, invitation_id: str, projects: Collection[str] | None) -> None:
    """Withdraw an invitation to one of `projects`; None for all. Raises InvitationNotFound if there is none."""
    count_change(session)
    mine = select(Invitation).where(Invitation.id == invitation_id, Invitation.used_at.is_(None))
    invitation = session.scalars(mine.where(*_limit(projects)) if projects is not None else mine).one_or_none()
    if invitation is None:
        raise InvitationNotFound(f"There is no open invitation {invitation_id!r}. GET /api/v1/invitations lists them.")
    session.delete(invitation)
    record(session, actor, "invitation-withdrawn", "user", invitation.login)


def _invite(session: Session, actor: Actor, guest: Guest, expires_at: datetime) -> Invited:
    user = session.get(User, guest.login)
    if user is not None and user.kind != UserKind.EXTERNAL:
        return Invited(_admit(session, actor, user, guest), None, None)
    return _make_link(session, actor, guest, expires_at, "invited")


def _admit(session: Session, actor: Actor, user: User, guest: Guest) -> Guest:
    """Make a user a member of the project of its invitation, unless it is one. Returns what the user is there."""
    role = guest.role if user.is_admin else find_standing(session, user).roles.get(guest.project)
    if role is None:
        role = min(guest.role, Role.MAINTAINER, key=list(Role).index)  # nobody becomes an admin without accepting it
        set_member(session, actor, guest.project, user.login, role)
    return Guest(user.login, guest.name, role, user.expires_at, guest.project)  # who invites learns no name


def _make_link(
    session: Session, actor: Actor, guest: Guest, expires_at: datetime, action: str, *, is_reset: bool = False
) -> Invited:
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
            project=guest.project,
            created_by=actor.login,
            expires_at=expires_at,
            user_expires_at=guest.expires_at,
            is_reset=is_reset,
        )
    )
    session.flush()
    record(session, actor, action, "user", guest.login, after={"role": guest.role, "project": guest.project})
    return Invited(guest, token, expires_at)
