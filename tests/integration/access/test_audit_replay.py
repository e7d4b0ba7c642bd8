"""Test that the audit log, replayed from its first event, tells the state of the registry and of the users."""

import random
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import AuditEvent, Key, Member, Project, User
from shared.database.tables.registry import Alias, Model, Version
from shared.database.tables.usage import Quota
from tests.integration.access.conftest import Person
from tests.support.examples import DIGITS, Json
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

ACTIONS = 60
VERSIONS = 4
State = dict[str, dict[Any, Any]]


def choose_action(dice: random.Random, logins: list[str], key_ids: list[str]) -> tuple[str, str, Json | None]:
    """Return the method, the path and the body of a change. Some of them fail."""
    login, project = dice.choice([*logins, "nobody"]), dice.choice(["default", "north", "south", "nowhere"])
    reference = dice.randint(1, VERSIONS + 1)
    quotas = {"queued_jobs": dice.randint(1, 9)} if dice.random() < 0.7 else {}
    return dice.choice(
        [
            ("PUT", f"/models/digits/aliases/{dice.choice(['production', 'next'])}", {"version": reference}),
            ("DELETE", f"/models/digits/aliases/{dice.choice(['production', 'next'])}", None),
            ("DELETE", f"/models/digits/versions/{reference}", None),
            ("PATCH", "/models/digits", {"predictions": dice.choice(["public", "project"])}),
            ("PUT", f"/projects/{dice.choice(['north', 'south'])}", {}),
            ("POST", f"/projects/{project}/archive", None),
            ("DELETE", f"/projects/{project}/archive", None),
            ("PUT", f"/projects/{project}/members/{login}", {"role": dice.choice(["viewer", "member", "maintainer"])}),
            ("DELETE", f"/projects/{project}/members/{login}", None),
            ("PATCH", f"/users/{login}", {"admin": dice.random() < 0.5}),
            ("PATCH", f"/users/{login}", {"disabled": dice.random() < 0.5}),
            ("PUT", f"/users/{login}/quotas", quotas),
            ("PUT", f"/projects/{project}/quotas", quotas),
            ("DELETE", f"/keys/{dice.choice(key_ids)}", None),
        ]
    )


GONE = object()
TELLS: dict[str, list[tuple[str, Callable[[Json], Any]]]] = {
    "alias-moved": [("aliases", lambda after: after["version"])],
    "alias-deleted": [("aliases", lambda _: GONE)],
    "version-deleted": [("versions", lambda _: GONE)],
    "model-edited": [("public", lambda after: after["predictions"])],
    "project-archived": [("archived", lambda _: True)],
    "project-opened": [("archived", lambda _: False)],
    "member-changed": [("members", lambda after: after["role"])],
    "member-removed": [("members", lambda _: GONE)],
    "user-changed": [("admins", lambda after: after["admin"]), ("disabled", lambda after: after["disabled"])],
    "key-revoked": [("revoked", lambda _: True)],
}
"""What an action tells: a kind of state, and its value after the action."""


def replay(events: list[AuditEvent], versions: list[str]) -> State:
    state: State = {kind: {} for tells in TELLS.values() for kind, _ in tells}
    state |= {"versions": dict.fromkeys(versions, True), "quotas": {}}
    for event in events:
        after = event.after or {}
        for kind, find in TELLS.get(event.action, []):
            value = find(after)
            if value is GONE:
                del state[kind][event.object]
            else:
                state[kind][event.object] = value
        if event.action == "quotas-changed":
            state["quotas"][event.object_kind, event.object] = after
        if event.action == "invitation-accepted" and after["role"] != "admin":
            state["members"][f"{after['project']}/{event.object}"] = after["role"]
    return state


def read_state(sessions: Sessions) -> State:
    with sessions() as session:
        quotas: dict[Any, Any] = {}
        for quota in session.scalars(select(Quota)):
            quotas.setdefault((quota.subject_kind, quota.subject), {})[quota.kind] = quota.most
        return {
            "aliases": {f"{one.model}@{one.alias}": one.number for one in session.scalars(select(Alias))},
            "versions": {f"{one.model}/{one.number}": True for one in session.scalars(select(Version))},
            "members": {f"{one.project}/{one.login}": one.role for one in session.scalars(select(Member))},
            "admins": {one.login: one.is_admin for one in session.scalars(select(User))},
            "disabled": {one.login: one.disabled_at is not None for one in session.scalars(select(User))},
            "archived": {one.name: one.archived_at is not None for one in session.scalars(select(Project))},
            "revoked": {one.id: True for one in session.scalars(select(Key)) if one.revoked_at is not None},
            "public": {one.name: one.predictions for one in session.scalars(select(Model))},
            "quotas": quotas,
        }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_replayed_log_is_the_state(
    http: FlaskClient,
    worker: InProcessWorker,
    published: Callable[[Json], PublishedVersion],
    sessions: Sessions,
    admin: Person,
    join: Callable[[str, Role], Person],
    seed: int,
) -> None:
    for _ in range(VERSIONS):
        published(DIGITS).publish(sessions, worker.context.artifacts)
    people = [join(login, Role.MEMBER) for login in ("kim", "lee", "tea")]
    dice = random.Random(seed)
    statuses = []
    for _ in range(ACTIONS):
        method, path, body = choose_action(dice, [one.login for one in people], [one.key_id for one in people])
        statuses.append(http.open(f"/api/v1{path}", method=method, json=body, headers=admin.headers).status_code)

    with sessions() as session:
        events = list(session.scalars(select(AuditEvent).order_by(AuditEvent.id)))
    replayed, state = replay(events, [f"digits/{number}" for number in range(1, VERSIONS + 1)]), read_state(sessions)

    assert 10 < sum(status < HTTPStatus.BAD_REQUEST for status in statuses) < ACTIONS
    for kind in ("aliases", "versions", "members", "revoked"):
        assert replayed[kind] == state[kind], kind
    for kind in ("admins", "disabled", "archived", "public"):
        assert replayed[kind].items() <= state[kind].items(), kind
    assert {subject: quotas for subject, quotas in replayed["quotas"].items() if quotas} == state["quotas"]
