"""Provide an API in which people sign in, with an admin, further users, and a project with a model, data and a job."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from shared.access import invitations, projects
from shared.access.audit import Actor
from shared.access.invitations import Guest
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.jobs import Job
from shared.database.tables.registry import Model
from shared.settings import Settings
from tests.support.examples import XOR

COMMAND = Actor("command line", "command")
CSV = b"a,b,kind\n" + b"1,2,x\n2,1,y\n3,4,x\n4,3,y\n5,6,x\n6,5,y\n" * 4


@dataclass(frozen=True)
class Person:
    """A user with its first key."""

    login: str
    key_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


Join = Callable[[str, Role], Person]
Enter = Callable[[str, str, Role], Person]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Provide settings with which people sign in. Clients of MLflow name no model: theirs is `digits`."""
    return settings.model_copy(update={"auth": "keys", "default_model": "digits"})


@pytest.fixture
def join(sessions: Sessions) -> Join:
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
def admin(http: FlaskClient, join: Join) -> Person:  # noqa: ARG001 - makes the database ready
    """Provide an admin."""
    return join("ada", Role.ADMIN)


@pytest.fixture
def enter(sessions: Sessions, join: Join) -> Enter:
    """Return a function that makes a user with a role in a project, which it creates."""

    def enter(login: str, project: str, role: Role) -> Person:
        person = join(login, role)
        with sessions.begin() as session:
            projects.put_project(session, COMMAND, project, None)
            projects.set_member(session, COMMAND, project, login, role)
            projects.remove_member(session, COMMAND, "default", login)
        return person

    return enter


def upload(http: FlaskClient, person: Person, name: str, **fields: str) -> Any:
    data = {"name": name, "file": (io.BytesIO(CSV), "points.csv"), **fields}
    return http.post("/api/v1/datasets", data=data, headers=person.headers)


@pytest.fixture
def kim(digits: FlaskClient, sessions: Sessions, admin: Person, enter: Enter) -> Person:
    """Provide a member of the class `north`, with the model `digits`, the data set `points`, and a queued job."""
    assert admin
    person = enter("kim", "north", Role.MEMBER)
    with sessions.begin() as session:
        session.execute(update(Model).where(Model.name == "digits").values(project="north", created_by="kim"))
        session.execute(update(Job).values(project="north"))
    assert upload(digits, person, "points").status_code == HTTPStatus.CREATED
    assert digits.post("/api/v1/jobs", json=XOR, headers=person.headers).status_code == HTTPStatus.ACCEPTED
    return person
