"""Create, find, rotate and revoke keys."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.access.audit import Actor, count_change, record
from shared.access.key_text import PREFIX, compute_digest, find_key_id, make_key
from shared.access.projects import Standing, find_standing
from shared.access.rights import Scope, list_scopes, sort_scopes
from shared.access.users import check_access
from shared.database.tables.access import BrowserSession, Key, User
from shared.database.tables.base import now
from shared.errors import Fault, InvalidRequest, KeyExpired, KeyNotFound, NotAuthenticated, TooManyKeys

DEFAULT_DAYS = 90
MAX_KEYS = 20
"""Limit on the keys of one user that are neither revoked nor expired."""
MAX_DAYS = 366
"""Limit on the time until a key expires that its user chooses. Admins choose freely."""


@dataclass(frozen=True)
class KeyRequest:
    """A key that is to be created.

    Attributes:
        scopes: None for all scopes that the user has in one project or another.
        models: patterns of names of models; None for all models.
        expires_at: None for DEFAULT_DAYS.
        never_expires: whether the key is valid for ever. `expires_at` is then None.
        rate: requests a second; None for no limit.
    """

    name: str
    scopes: frozenset[Scope] | None = None
    models: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    never_expires: bool = False
    rate: int | None = None


@dataclass(frozen=True)
class Found:
    """A valid key or session with its user.

    Attributes:
        key_id: the key; None for a session of a user who signed in without one.
        scopes: those that both the key and the user have, in one project or another.
        seconds: seconds until the key expires, by the clock of the database; None if it does not.
        session: the sha256 of the token of the browser session; None for a key.
    """

    login: str
    standing: Standing
    key_id: str | None
    scopes: frozenset[Scope]
    models: tuple[str, ...] | None
    seconds: float | None
    rate: int | None
    session: str | None = None


def create_key(session: Session, actor: Actor, user: User, asked: KeyRequest) -> tuple[Key, str]:
    """Create a key of a user. Returns it with its text, which nobody can read again.

    Raises InvalidRequest for scopes that the user does not have or a time that is over, or TooManyKeys.
    """
    count_change(session)
    roles = find_standing(session, user).list_roles()
    allowed = list_scopes(roles)
    scopes = asked.scopes if asked.scopes is not None else allowed
    if asked.models is not None:
        scopes = scopes if asked.scopes is not None else frozenset({Scope.PREDICT})
    faults = []
    if missing := sort_scopes(scopes - allowed):
        most = f"a {roles[-1].value!r}" if roles else "in no project"
        faults.append(Fault("#/scopes", f"{user.login!r} is {most}, without {', '.join(missing)}."))
    if asked.models is not None and scopes != {Scope.PREDICT}:
        faults.append(Fault("#/models", "Only a key whose one scope is `predict` can be limited to some models."))
    time = session.scalars(select(now())).one()
    if asked.expires_at is not None and asked.expires_at <= time:
        faults.append(Fault("#/expires_at", f"The time is over: it is {time:%Y-%m-%dT%H:%M:%SZ} now."))
    expires_at = None if asked.never_expires else asked.expires_at or time + timedelta(days=DEFAULT_DAYS)
    if user.expires_at is not None:
        is_later = asked.never_expires or (asked.expires_at is not None and asked.expires_at > user.expires_at)
        if is_later:
            end = f"{user.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            faults.append(Fault("#/expires_at", f"The access of {user.login!r} ends at {end}. Send an earlier time."))
        expires_at = min(expires_at, user.expires_at) if expires_at is not None else user.expires_at
    if faults:
        raise InvalidRequest("The key cannot be created.", tuple(faults))
    _check_count(session, user.login)
    new = make_key()
    key = Key(
        id=new.id,
        login=user.login,
        name=asked.name,
        secret_sha256=new.digest,
        last4=new.text[-4:],
        scopes=list(sort_scopes(scopes)),
        models=list(asked.models) if asked.models is not None else None,
        rate=asked.rate,
        created_at=time,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    described = {"user": user.login, "name": key.name, "scopes": key.scopes, "models": key.models}
    record(session, actor, "key-created", "key", key.id, after=described)
    return key, new.text


def rotate_key(session: Session, actor: Actor, key: Key, grace: timedelta, kept_session: str | None = None) -> str:
    """Give a key a new secret. The old one is valid for the time `grace`. Returns the new text.

    Browsers that signed in with the key are signed out, but the one with the session `kept_session`.
    """
    count_change(session)
    others = delete(BrowserSession).where(BrowserSession.key_id == key.id)
    session.execute(others.where(BrowserSession.token_sha256 != (kept_session or "")))
    new = make_key(key.id)
    key.previous_sha256, key.previous_until = key.secret_sha256, session.scalars(select(now())).one() + grace
    key.secret_sha256, key.last4 = new.digest, new.text[-4:]
    record(session, actor, "key-rotated", "key", key.id, after={"grace_hours": grace.total_seconds() / 3600})
    return new.text


def revoke_key(session: Session, actor: Actor, key: Key) -> None:
    """Revoke a key and end its browser sessions. A second call has no effect."""
    if key.revoked_at is not None:
        return
    count_change(session)
    key.revoked_at = session.scalars(select(now())).one()
    session.execute(delete(BrowserSession).where(BrowserSession.key_id == key.id))
    record(session, actor, "key-revoked", "key", key.id, before={"user": key.login, "name": key.name})


def get_key(session: Session, key_id: str, login: str | None) -> Key:
    """Return a key of the user `login`; with None, of any user. Raises KeyNotFound."""
    key = session.get(Key, key_id)
    if key is None or (login is not None and key.login != login):
        raise KeyNotFound(f"There is no key {key_id!r} that you may see. GET /api/v1/keys lists yours.")
    return key


def list_keys(session: Session, login: str) -> list[Key]:
    """Return the keys of a user, the newest first. Revoked and expired ones are among them."""
    return list(session.scalars(select(Key).where(Key.login == login).order_by(Key.created_at.desc(), Key.id)))


def find_by_text(session: Session, text: str) -> Found:
    """Find the key with this text. Raises NotAuthenticated, or KeyExpired."""
    key_id = check_form(text)
    row = _load(session, Key.id == key_id)
    unknown = NotAuthenticated("The key is not known. Check that it belongs to this service.")
    if row is None:
        raise unknown
    key, user, time = row
    digest = compute_digest(text)
    if hmac.compare_digest(key.secret_sha256, digest):
        return check_key(session, key, user, time)
    if key.previous_sha256 is None or not hmac.compare_digest(key.previous_sha256, digest):
        raise unknown
    return _check_previous(session, key, user, time)


def check_form(text: str) -> str:
    """Return the id in the text of a key. Raises NotAuthenticated if its form or its checksum is wrong."""
    key_id = find_key_id(text)
    if key_id is None and not text.startswith(PREFIX):
        raise NotAuthenticated(f"This is no key: keys begin with `{PREFIX}`.")
    if key_id is None:
        raise NotAuthenticated("The key has a typing error: its checksum is wrong. Copy all of it again.")
    return key_id


def remember_use(session: Session, used: Mapping[str, str | None]) -> None:
    """Write that keys were used last now. `used` has the address of the client by the id of the key."""
    for key_id, address in sorted(used.items()):  # in one order: two processes cannot wait for each other
        session.execute(update(Key).where(Key.id == key_id).values(last_used_at=now(), last_used_from=address))


def _load(session: Session, condition: object) -> tuple[Key, User, datetime] | None:
    """Load a key with its user and the time of the database."""
    query = select(Key, User, now()).join(User, User.login == Key.login).where(condition)  # type: ignore[arg-type]
    row = session.execute(query).one_or_none()
    return (row[0], row[1], row[2]) if row is not None else None


def _check_previous(session: Session, key: Key, user: User, time: datetime) -> Found:
    """Return what a key may do whose secret was replaced. Raises NotAuthenticated, or KeyExpired after the grace."""
    assert key.previous_until is not None  # noqa: S101 - written together with the digest
    left = (key.previous_until - time).total_seconds()
    if left <= 0:
        raise KeyExpired(f"The key {key.id!r} has a new secret since its rotation. Use that one.")
    found = check_key(session, key, user, time)
    return replace(found, seconds=left if found.seconds is None else min(left, found.seconds))


def check_key(session: Session, key: Key, user: User, time: datetime) -> Found:
    """Return what a key may do. Raises NotAuthenticated or KeyExpired if it is no longer valid."""
    if key.revoked_at is not None:
        raise NotAuthenticated(f"The key {key.id!r} was revoked.")
    found = find_rights(session, user, time)
    seconds = found.seconds
    if key.expires_at is not None:
        left = (key.expires_at - time).total_seconds()
        if left <= 0:
            end = f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            raise KeyExpired(f"The key {key.id!r} expired at {end}. Ask an admin for a new one.")
        seconds = left if seconds is None else min(left, seconds)
    scopes = found.scopes & frozenset(Scope(scope) for scope in key.scopes)
    models = tuple(key.models) if key.models is not None else None
    return replace(found, key_id=key.id, scopes=scopes, models=models, seconds=seconds, rate=key.rate)


def find_rights(session: Session, user: User, time: datetime) -> Found:
    """Return what a user may do who signs in without a key. Raises NotAuthenticated or KeyExpired."""
    check_access(user, time)
    standing = find_standing(session, user)
    seconds = (user.expires_at - time).total_seconds() if user.expires_at is not None else None
    return Found(user.login, standing, None, list_scopes(standing.list_roles()), None, seconds, None)


def can_sign_in(session: Session, login: str) -> bool:
    """Return whether a user has a valid key with which a browser can sign in."""
    return any(Scope.READ in key.scopes for key in _list_valid(session, login))


def _list_valid(session: Session, login: str) -> Sequence[Key]:
    mine = select(Key).where(Key.login == login, Key.revoked_at.is_(None))
    return session.scalars(mine.where(Key.expires_at.is_(None) | (Key.expires_at > now()))).all()


def _check_count(session: Session, login: str) -> None:
    """Check that a user can have one more key. Raises TooManyKeys."""
    valid = _list_valid(session, login)
    if len(valid) >= MAX_KEYS:
        raise TooManyKeys(f"{login!r} has {len(valid)} valid keys, the limit. Revoke one that is no longer used.")
