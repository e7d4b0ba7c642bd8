"""Test invitations, users and the audit log, from their requests to what they change."""

import csv
import dataclasses
import io
import re
import threading
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from api.services import EXTENSION
from api.web.words import list_words
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import AuditEvent, Invitation, User
from shared.database.tables.base import now
from tests.integration.access.conftest import Join, Person
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem
from tests.support.stacks import ROOT

CSV = {"Content-Type": "text/csv"}


def invite(http: FlaskClient, admin: Person, table: str, **headers: str) -> Any:
    return http.post("/api/v1/invitations", data=table, headers={**CSV, **admin.headers, **headers})


def get_token(link: str) -> str:
    return link.partition("#")[2]


def list_actions(http: FlaskClient, admin: Person) -> list[tuple[str, str, str]]:
    events = http.get("/api/v1/audit?limit=200", headers=admin.headers).json["events"]
    return [(event["actor"], event["action"], event["object"]) for event in reversed(events)]


def test_a_class_is_invited_by_a_table_and_joins(http: FlaskClient, admin: Person) -> None:
    table = "\ufefflogin;name;role;expires_at\r\nkim;김민준;member;2099-07-31\r\njörg;;;\r\n"
    wrong = invite(http, admin, table)
    right = invite(http, admin, table.replace("jörg", "joerg"), Accept="text/csv")

    assert assert_problem(wrong, 422, "invalid-request")["errors"][0]["pointer"] == "#/1/login"
    assert http.get("/api/v1/users", headers=admin.headers).json["users"][0]["login"] == "ada"
    rows = list(csv.DictReader(io.StringIO(right.text)))
    assert [(row["login"], row["role"]) for row in rows] == [("kim", "member"), ("joerg", "member")]
    joined = http.post("/api/v1/invitations/acceptance", json={"token": get_token(rows[0]["link"])})
    assert joined.status_code == HTTPStatus.CREATED
    assert joined.json["user"]["name"] == "김민준"
    assert joined.json["user"]["expires_at"].startswith("2099-07-31T23:59:59")
    assert joined.json["key"]["expires_at"].startswith("2099-07-31T23:59:59")
    assert joined.json["key"]["scopes"] == ["read", "predict", "train"]
    key = joined.json["key"]["key"]
    assert http.get("/api/v1/me", headers={"X-Api-Key": key}).json["user"]["login"] == "kim"


def test_a_second_table_leaves_those_who_joined_and_renews_the_links_of_others(
    http: FlaskClient, admin: Person
) -> None:
    first = invite(http, admin, "login\nkim\nlee\n").json["invitations"]
    http.post("/api/v1/invitations/acceptance", json={"token": get_token(first[0]["link"])})

    second = invite(http, admin, "login\nkim\nlee\n").json["invitations"]

    assert (second[0]["joined"], second[0]["link"]) == (True, None)
    assert second[1]["link"] not in (None, first[1]["link"])
    old = http.post("/api/v1/invitations/acceptance", json={"token": get_token(first[1]["link"])})
    assert_problem(old, 410, "invitation-unusable")
    assert len(http.get("/api/v1/invitations", headers=admin.headers).json["invitations"]) == 1


@pytest.mark.parametrize(
    ("table", "pointer"),
    [
        ("login\nkim\nkim\n", "#/1/login"),
        ("login,role\nkim,boss\n", "#/0/role"),
        ("login,name\nkim,a,b\n", "#/0"),
        ("login\nADA\n", "#/0/login"),
        ("login\n=cmd()\n", "#/0/login"),
        ("login\nanonymous\n", "#/0/login"),
        ("login,name\nkim,a\u202eb\n", "#/0/name"),
        ("login,expires_at\nkim,2001-01-01\n", "#/0/expires_at"),
    ],
)
def test_a_table_with_a_fault_invites_nobody(http: FlaskClient, admin: Person, table: str, pointer: str) -> None:
    problem = assert_problem(invite(http, admin, table), 422, "invalid-request")

    assert problem["errors"][0]["pointer"] == pointer
    assert http.get("/api/v1/invitations", headers=admin.headers).json["invitations"] == []


def test_a_fault_of_a_table_names_its_line(http: FlaskClient, admin: Person) -> None:
    problem = assert_problem(
        invite(http, admin, "login,role\n\nkim, Member\rkim,chef\rmax,boss"), 422, "invalid-request"
    )

    assert [(fault["pointer"], fault["line"]) for fault in problem["errors"]] == [("#/1/role", 4), ("#/2/role", 5)]
    assert problem["errors"][0]["detail"].startswith("Line 4, 'kim': ")


@pytest.mark.parametrize(
    "table", ["", "login\n", "name\nKim\n", "login,login\na,b\n", "login,color\nkim,red\n", 'login\n"kim\n']
)
def test_a_table_needs_its_columns(http: FlaskClient, admin: Person, table: str) -> None:
    assert invite(http, admin, table).status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


def test_a_link_is_used_once_also_by_many_at_once(http: FlaskClient, app: Flask, admin: Person) -> None:
    (invited,) = invite(http, admin, "login\nkim\n").json["invitations"]
    statuses = []

    def accept() -> None:
        with app.test_client() as client:
            answer = client.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])})
            statuses.append(answer.status_code)

    threads = [threading.Thread(target=accept) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [201, *[410] * 7]


def test_an_expired_or_withdrawn_link_does_not_work(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    invited = invite(http, admin, "login\nkim\nlee\n").json["invitations"]
    listed = http.get("/api/v1/invitations", headers=admin.headers).json["invitations"]
    http.delete(f"/api/v1/invitations/{listed[0]['id']}", headers=admin.headers)
    with sessions.begin() as session:
        session.execute(update(Invitation).where(Invitation.login == "lee").values(expires_at=now(-1)))

    for one in invited:
        answer = http.post("/api/v1/invitations/acceptance", json={"token": get_token(one["link"])})
        assert_problem(answer, 410, "invitation-unusable")


def test_an_owner_from_before_becomes_a_person(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    with sessions.begin() as session:
        session.add(User(login="kim", kind="external"))
    (invited,) = invite(http, admin, "login,role\nkim,maintainer\n").json["invitations"]

    joined = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])}).json

    assert (joined["user"]["kind"], joined["user"]["projects"]) == ("person", {"default": "maintainer"})


def test_a_reset_ends_the_old_keys_when_its_link_is_used(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    link = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]
    before = http.get("/api/v1/me", headers=kim.headers).status_code

    new = http.post("/api/v1/invitations/acceptance", json={"token": get_token(link)}).json["key"]["key"]
    after = http.get("/api/v1/me", headers=kim.headers).status_code

    assert (before, after) == (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED)
    assert http.get("/api/v1/me", headers={"X-Api-Key": new}).status_code == HTTPStatus.OK


def test_a_disabled_user_gets_no_new_key(http: FlaskClient, admin: Person, join: Join) -> None:
    join("kim", Role.MEMBER)
    link = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]
    http.patch("/api/v1/users/kim", json={"disabled": True}, headers=admin.headers)

    again = http.post("/api/v1/users/kim/reset", headers=admin.headers)
    accepted = http.post("/api/v1/invitations/acceptance", json={"token": get_token(link)})

    assert_problem(again, 422, "invalid-request")
    assert_problem(accepted, 410, "invitation-unusable")


@pytest.mark.parametrize("change", [{"disabled": True}, {"admin": False}])
def test_the_links_of_an_admin_end_with_its_rights(
    http: FlaskClient, admin: Person, join: Join, change: dict[str, Any]
) -> None:
    eve = join("eve", Role.ADMIN)
    (invited,) = invite(http, eve, "login,role\nbackdoor,admin\n").json["invitations"]

    http.patch("/api/v1/users/eve", json=change, headers=admin.headers)

    accepted = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])})
    assert_problem(accepted, 410, "invitation-unusable")


def test_no_key_of_a_user_outlives_its_access(http: FlaskClient, app: Flask, sessions: Sessions, admin: Person) -> None:
    (invited,) = invite(http, admin, "login,expires_at\nkim,2027-01-31\n").json["invitations"]
    first = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])}).json["key"]
    headers = {"X-Api-Key": first["key"]}
    late = http.post("/api/v1/keys", json={"name": "x", "expires_at": "2027-02-28T00:00:00Z"}, headers=headers)
    second = http.post("/api/v1/keys", json={"name": "x"}, headers=headers).json
    link = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]
    third = http.post("/api/v1/invitations/acceptance", json={"token": get_token(link)}).json["key"]

    assert_problem(late, 422, "invalid-request")
    assert second["expires_at"] == third["expires_at"] == first["expires_at"]
    http.patch("/api/v1/users/kim", json={"expires_at": "2027-12-31T00:00:00Z"}, headers=admin.headers)
    with sessions.begin() as session:
        session.execute(update(User).where(User.login == "kim").values(expires_at=now(-1)))
    app.extensions[EXTENSION].gate.forget()
    assert_problem(http.get("/api/v1/me", headers={"X-Api-Key": third["key"]}), 401, "key-expired")


def test_the_last_admin_stays(http: FlaskClient, admin: Person, join: Join) -> None:
    for change in ({"disabled": True}, {"admin": False}):
        refused = http.patch("/api/v1/users/ada", json=change, headers=admin.headers)
        assert_problem(refused, 409, "last-admin")
    join("eve", Role.ADMIN)

    assert not http.patch("/api/v1/users/ada", json={"admin": False}, headers=admin.headers).json["is_admin"]


def test_a_lower_role_takes_scopes_from_keys_that_exist(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    http.get("/api/v1/me", headers=kim.headers)
    http.put("/api/v1/projects/default/members/kim", json={"role": "viewer"}, headers=admin.headers)

    refused = http.post("/api/v1/jobs", json=DIGITS, headers=kim.headers)

    assert "'member'" in assert_problem(refused, 403, "not-allowed")["detail"]


def test_the_log_tells_who_changed_what(digits: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    path = "/api/v1/models/digits"
    digits.put(f"{path}/aliases/production", json={"version": 1}, headers=tea.headers)
    digits.patch(path, json={"description": "ours"}, headers=tea.headers)
    digits.delete(f"{path}/aliases/production", headers=tea.headers)
    digits.delete(f"{path}/versions/1", headers=tea.headers)

    actions = list_actions(digits, admin)

    assert [one for one in actions if one[0] == "tea"][-4:] == [
        ("tea", "alias-moved", "digits@production"),
        ("tea", "model-described", "digits"),
        ("tea", "alias-deleted", "digits@production"),
        ("tea", "version-deleted", "digits/1"),
    ]
    (moved,) = digits.get("/api/v1/audit?action=alias-moved", headers=admin.headers).json["events"]
    assert (moved["before"], moved["after"], moved["via"], moved["key_id"]) == (None, {"version": 1}, "key", tea.key_id)
    found = digits.get("/api/v1/audit?object=version:digits/1", headers=admin.headers).json["events"]
    assert [event["action"] for event in found] == ["version-deleted"]
    lines = digits.get("/api/v1/audit.jsonl", headers=admin.headers).text.splitlines()
    assert len(lines) == len(actions)


def test_a_change_that_fails_is_not_in_the_log(digits: FlaskClient, admin: Person) -> None:
    before = list_actions(digits, admin)
    path = "/api/v1/models/digits"
    digits.put(f"{path}/aliases/production", json={"version": 99}, headers=admin.headers)
    digits.delete(f"{path}/versions/99", headers=admin.headers)
    digits.patch("/api/v1/users/ada", json={"disabled": True}, headers=admin.headers)

    assert list_actions(digits, admin) == before


def test_the_database_refuses_to_change_the_log(sessions: Sessions, admin: Person) -> None:
    assert admin.key
    statements: list[Any] = [update(AuditEvent).values(actor="nobody"), delete(AuditEvent)]
    with sessions() as session:
        if session.get_bind().dialect.name == "postgresql":
            statements.append(text("TRUNCATE audit_events"))
    for statement in statements:
        with pytest.raises(DatabaseError, match="cannot be changed"), sessions.begin() as session:
            session.execute(statement)


def test_a_model_belongs_to_who_uses_its_name_first(http: FlaskClient, admin: Person, join: Join) -> None:
    ann, bob, tea = join("ann", Role.MEMBER), join("bob", Role.MEMBER), join("tea", Role.MAINTAINER)

    statuses = [
        http.post("/api/v1/jobs", json=DIGITS, headers=person.headers).status_code for person in (ann, ann, bob, tea)
    ]
    planned = http.post("/api/v1/jobs?dry_run=true", json=DIGITS, headers=bob.headers)
    assert_problem(planned, 409, "name-taken")
    refused = http.post("/api/v1/jobs", json=DIGITS, headers=bob.headers)

    assert statuses == [202, 202, 409, 202]
    assert "'digits.bob'" in assert_problem(refused, 409, "name-taken")["detail"]
    assert len(http.get("/api/v1/jobs", headers=admin.headers).json["jobs"]) == 3
    assert http.get("/api/v1/models", headers=admin.headers).json["models"] == []  # reserved only


def test_a_data_set_belongs_to_who_uploads_it_first(http: FlaskClient, admin: Person, join: Join) -> None:
    ann, bob = join("ann", Role.MEMBER), join("bob", Role.MEMBER)

    def upload(person: Person, rows: str) -> Any:
        form = {"name": "flowers", "file": (io.BytesIO(f"a,label\n{rows}".encode()), "a.csv")}
        return http.post("/api/v1/datasets", data=form, headers=person.headers)

    assert upload(ann, "1,x\n2,y\n").status_code == HTTPStatus.CREATED
    assert_problem(upload(bob, "3,x\n4,y\n"), 409, "name-taken")
    assert upload(admin, "3,x\n4,y\n").status_code == HTTPStatus.CREATED
    assert http.get("/api/v1/datasets/flowers@2", headers=bob.headers).status_code == HTTPStatus.OK


def test_thirty_students_post_one_recipe(http: FlaskClient, app: Flask, admin: Person, join: Join) -> None:
    services = app.extensions[EXTENSION]
    owners = dataclasses.replace(services.owners, names_per_user=True)
    app.extensions[EXTENSION] = dataclasses.replace(services, owners=owners)
    ann = join("ann", Role.MEMBER)

    planned = http.post("/api/v1/jobs?dry_run=true", json=DIGITS, headers=ann.headers).json["model"]
    models = [http.post("/api/v1/jobs", json=DIGITS, headers=one.headers).json["model"] for one in (ann, admin)]
    own = {**DIGITS, "model": "digits.ann"}

    assert (planned, models) == ("digits.ann", ["digits.ann", "digits"])
    assert http.post("/api/v1/jobs", json=own, headers=ann.headers).json["model"] == "digits.ann"


def test_a_retry_publishes_only_under_a_name_that_is_free_or_own(http: FlaskClient, admin: Person, join: Join) -> None:
    ann, tea = join("ann", Role.MEMBER), join("tea", Role.MAINTAINER)
    http.post("/api/v1/jobs", json=DIGITS, headers=ann.headers)
    job = http.post("/api/v1/jobs", json=DIGITS, headers=tea.headers).json
    http.post(f"/api/v1/jobs/{job['id']}/cancellation", headers=tea.headers)
    http.put("/api/v1/projects/default/members/tea", json={"role": "member"}, headers=admin.headers)

    retried = http.post(f"/api/v1/jobs/{job['id']}/retry", headers=tea.headers)

    assert_problem(retried, 409, "name-taken")


def test_an_old_invitation_does_not_give_the_keys_of_a_user(http: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    (invited,) = invite(http, tea, "login\nweb-shop\n").json["invitations"]
    http.post("/api/v1/users", json={"login": "web-shop", "role": "admin"}, headers=admin.headers)

    accepted = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])})

    assert_problem(accepted, 410, "invitation-unusable")


def test_a_reset_neither_ends_nor_prolongs_an_access(
    http: FlaskClient, sessions: Sessions, admin: Person, join: Join
) -> None:
    for login in ("kim", "lee"):
        join(login, Role.MEMBER)
    links = {
        login: http.post(f"/api/v1/users/{login}/reset", headers=admin.headers).json["link"] for login in ("kim", "lee")
    }
    http.patch("/api/v1/users/kim", json={"expires_at": "2027-12-05"}, headers=admin.headers)
    with sessions.begin() as session:
        session.execute(update(User).where(User.login == "lee").values(expires_at=now(-1)))

    kept = http.post("/api/v1/invitations/acceptance", json={"token": get_token(links["kim"])})
    ended = http.post("/api/v1/invitations/acceptance", json={"token": get_token(links["lee"])})

    assert kept.json["user"]["expires_at"] == "2027-12-05T23:59:59Z"
    assert_problem(ended, 410, "invitation-unusable")


def test_maintainers_neither_see_nor_replace_the_links_of_admins(http: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    join("kim", Role.MEMBER)
    invite(http, admin, "login,role\nnew,admin\n")
    http.post("/api/v1/users/kim/reset", headers=admin.headers)
    open_ones = http.get("/api/v1/invitations", headers=admin.headers).json["invitations"]

    listed = http.get("/api/v1/invitations", headers=tea.headers).json["invitations"]
    withdrawn = [http.delete(f"/api/v1/invitations/{one['id']}", headers=tea.headers) for one in open_ones]
    replaced = [invite(http, person, "login,role\nnew,member\n") for person in (tea, admin)]

    assert [one["login"] for one in open_ones] == ["kim", "new"]
    assert listed == []
    for answer in withdrawn:
        assert_problem(answer, 404, "invitation-not-found")
    for answer in replaced:
        assert "open invitation as an admin" in assert_problem(answer, 422, "invalid-request")["errors"][0]["detail"]


def test_maintainers_learn_nothing_of_other_users(http: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    join("mem-a", Role.MEMBER)

    unknown = http.put("/api/v1/projects/default/members/mem-aa", json={"role": "member"}, headers=tea.headers)
    (invited,) = invite(http, tea, "login,name\nada,Somebody\n").json["invitations"]

    assert admin.login == "ada"
    assert "mem-a'" not in assert_problem(unknown, 404, "user-not-found")["detail"]
    assert (invited["name"], invited["role"]) == ("Somebody", "member")


def test_a_user_with_a_link_for_a_new_key_joins_a_further_project(http: FlaskClient, admin: Person, join: Join) -> None:
    join("kim", Role.MEMBER)
    http.put("/api/v1/projects/north", json={}, headers=admin.headers)
    link = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]

    (invited,) = invite(http, admin, "login,project\nkim,north\n").json["invitations"]
    accepted = http.post("/api/v1/invitations/acceptance", json={"token": get_token(link)})

    assert (invited["joined"], invited["project"]) == (True, "north")
    assert accepted.json["user"]["projects"] == {"default": "member", "north": "member"}


def test_a_role_of_an_admin_in_a_project_does_not_end_its_links(http: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    (invited,) = invite(http, admin, "login\nkim\n").json["invitations"]
    http.put("/api/v1/projects/default/members/ada", json={"role": "viewer"}, headers=tea.headers)

    accepted = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])})

    assert accepted.status_code == HTTPStatus.CREATED


def test_a_link_tells_what_it_gives_before_it_is_accepted(http: FlaskClient, admin: Person) -> None:
    link = invite(http, admin, "login,name\nkim,김민준\n").json["invitations"][0]["link"]
    token = {"token": get_token(link)}
    previews = [http.post("/api/v1/invitations/preview", json=token).json for _ in range(2)]
    http.post("/api/v1/invitations/acceptance", json=token)
    reset = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]

    assert previews[0] == previews[1]
    shown = {name: previews[0][name] for name in ("login", "name", "role", "project", "is_reset")}
    assert shown == {"login": "kim", "name": "김민준", "role": "member", "project": "default", "is_reset": False}
    assert_problem(http.post("/api/v1/invitations/preview", json=token), 410, "invitation-unusable")
    assert http.post("/api/v1/invitations/preview", json={"token": get_token(reset)}).json["is_reset"]


def test_every_action_of_the_log_has_words() -> None:
    text = (ROOT / "docs" / "access.md").read_text()
    table = text.partition("| object | actions |")[2].partition("\n\n")[0]
    rows = [line.split("|")[2] for line in table.splitlines()[2:]]
    documented = {action for row in rows for action in re.findall(r"`([a-z-]+)`", row)}
    code = "".join(path.read_text() for folder in ("api", "shared") for path in (ROOT / folder).rglob("*.py"))
    recorded = set(re.findall(r"record\(\s*session, (?:actor, |make_actor\(\), )?\"([a-z-]+)\"", code))

    assert recorded <= documented
    assert documented == list_words("ko", "access.audit.action.").keys()
