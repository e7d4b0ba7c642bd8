"""Provide an API in which people sign in, with an admin, and functions that make further users."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from shared.access import invitations
from shared.access.audit import Actor
from shared.access.invitations import Guest
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.settings import Settings

COMMAND = Actor("command line", "command")


@dataclass(frozen=True)
class Person:
    """A user with its first key."""

    login: str
    key_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Provide settings with which people sign in. Clients of MLflow name no model: theirs is `digits`."""
    return settings.model_copy(update={"auth": "keys", "default_model": "digits"})


@pytest.fixture
def join(sessions: Sessions) -> Callable[[str, Role], Person]:
    """Return a function that makes a user of a role."""

    def join(login: str, role: Role) -> Person:
        with sessions.begin() as session:
            (made,) = invitations.invite(session, COMMAND, [Guest(login, "", role)])
            assert made.token is not None
            user = invitations.accept(session, None, None, made.token)
            key, text = invitations.create_first_key(session, COMMAND, user)
            return Person(user.login, key.id, text)

    return join


@pytest.fixture
def admin(http: FlaskClient, join: Callable[[str, Role], Person]) -> Person:  # noqa: ARG001 - makes the database ready
    """Provide an admin."""
    return join("ada", Role.ADMIN)
