"""Sign browsers in, find who is signed in, and sign browsers out."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.key_text import compute_digest, make_token
from shared.access.keys import Found, check_key, find_rights
from shared.access.users import read_clock
from shared.database.tables.access import BrowserSession, Key, User
from shared.database.tables.base import now
from shared.errors import NotAuthenticated

MAX_SESSIONS = 20
"""Limit on the browsers that a user signs in with one key, or without one. One more signs out the earliest."""
SESSION_HOURS = 12
"""A browser session ends when no request has come for this time."""
SESSION_DAYS = 7
"""A browser session ends after this time."""


def sign_in(session: Session, actor: Actor, login: str, key_id: str | None) -> str:
    """Sign a browser in with a key of a user, or without one. Returns the token of the session, for its cookie."""
    token = make_token()
    session.execute(delete(BrowserSession).where(BrowserSession.created_at < now(-SESSION_DAYS * 24 * 3600)))
    alike = BrowserSession.login == login, BrowserSession.key_id.is_not_distinct_from(key_id)
    newest = select(BrowserSession.token_sha256).where(*alike).order_by(BrowserSession.created_at.desc())
    kept = list(session.scalars(newest.limit(MAX_SESSIONS - 1)))
    session.execute(delete(BrowserSession).where(*alike, BrowserSession.token_sha256.not_in(kept)))
    session.add(BrowserSession(token_sha256=compute_digest(token), login=login, key_id=key_id))
    record(session, actor, "signed-in", "user", login)
    return token


def find_by_token(session: Session, token: str) -> Found:
    """Find who is signed in with the token of a session. Raises NotAuthenticated, or KeyExpired."""
    digest = compute_digest(token)
    ended = NotAuthenticated("The session has ended. Sign in again.")
    row = session.execute(
        select(BrowserSession, User, Key)
        .join(User, User.login == BrowserSession.login)
        .outerjoin(Key, Key.id == BrowserSession.key_id)
        .where(BrowserSession.token_sha256 == digest)
    ).one_or_none()
    if row is None:
        raise ended
    signed_in, user, key = row
    time = read_clock(session)
    too_late = min(
        signed_in.seen_at + timedelta(hours=SESSION_HOURS), signed_in.created_at + timedelta(days=SESSION_DAYS)
    )
    if time >= too_late:
        raise ended
    found = find_rights(session, user, time) if key is None else check_key(session, key, user, time)
    left = (too_late - time).total_seconds()
    seconds = left if found.seconds is None else min(left, found.seconds)
    return replace(found, seconds=seconds, session=digest)


def sign_out(session: Session, actor: Actor, digest: str) -> None:
    """End a browser session. `digest` is the sha256 of its token."""
    count_change(session)
    session.execute(delete(BrowserSession).where(BrowserSession.token_sha256 == digest))
    record(session, actor, "signed-out", "user", actor.login)


def end_sessions(session: Session, login: str, *, with_key: bool) -> None:
    """End the browser sessions of a user in which it signed in with a key, or those without."""
    kind = BrowserSession.key_id.is_not(None) if with_key else BrowserSession.key_id.is_(None)
    session.execute(delete(BrowserSession).where(BrowserSession.login == login, kind))


def remember_sessions(session: Session, seen: Iterable[str]) -> None:
    """Write that sessions were used now. `seen` are the sha256 of their tokens."""
    for digest in sorted(seen):  # in one order: two processes cannot wait for each other
        session.execute(update(BrowserSession).where(BrowserSession.token_sha256 == digest).values(seen_at=now()))
