"""Test invitations, users, keys and the audit log, from their requests to what they change."""

import csv
import dataclasses
import io
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from api.access import streams
from api.services import EXTENSION
from shared.access import keys
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import AuditEvent, Invitation, Key, User
from shared.database.tables.base import now
from tests.integration.access.conftest import Person
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem

Join = Callable[[str, Role], Person]
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
        session.add(User(login="kim", kind="external", role="member"))
    (invited,) = invite(http, admin, "login,role\nkim,maintainer\n").json["invitations"]

    joined = http.post("/api/v1/invitations/acceptance", json={"token": get_token(invited["link"])}).json

    assert (joined["user"]["kind"], joined["user"]["role"]) == ("person", "maintainer")


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


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "maintainer"}])
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


def test_times_are_those_of_their_zone(http: FlaskClient, admin: Person) -> None:
    made = http.post(
        "/api/v1/keys", json={"name": "x", "expires_at": "2027-01-01T22:00:00+09:00"}, headers=admin.headers
    ).json

    shown = http.get(f"/api/v1/keys/{made['id']}", headers=admin.headers).json

    assert shown["expires_at"] == "2027-01-01T13:00:00Z"


def test_the_last_admin_stays(http: FlaskClient, admin: Person, join: Join) -> None:
    for change in ({"disabled": True}, {"role": "member"}):
        refused = http.patch("/api/v1/users/ada", json=change, headers=admin.headers)
        assert_problem(refused, 409, "last-admin")
    join("eve", Role.ADMIN)

    assert http.patch("/api/v1/users/ada", json={"role": "member"}, headers=admin.headers).json["role"] == "member"


def test_a_lower_role_takes_scopes_from_keys_that_exist(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    http.get("/api/v1/me", headers=kim.headers)
    http.patch("/api/v1/users/kim", json={"role": "viewer"}, headers=admin.headers)

    refused = http.post("/api/v1/jobs", json=DIGITS, headers=kim.headers)

    assert "'member'" in assert_problem(refused, 403, "not-allowed")["detail"]


def test_a_service_account_has_the_keys_that_an_admin_makes(http: FlaskClient, admin: Person) -> None:
    made = http.post("/api/v1/users", json={"login": "web-shop"}, headers=admin.headers)
    key = http.post(
        "/api/v1/keys",
        json={"name": "shop", "user": "web-shop", "scopes": ["predict"], "expires_at": None},
        headers=admin.headers,
    )
    again = http.post("/api/v1/users", json={"login": "web-shop"}, headers=admin.headers)

    assert (made.json["kind"], made.json["role"]) == ("service", "viewer")
    assert (key.json["login"], key.json["expires_at"]) == ("web-shop", None)
    assert_problem(again, 409, "login-taken")


def test_a_key_makes_none_that_may_do_more(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    narrow = http.post("/api/v1/keys", json={"name": "x", "scopes": ["read"]}, headers=admin.headers).json
    by_narrow = {"X-Api-Key": narrow["key"]}
    far = "2199-01-01T00:00:00Z"
    assert_problem(
        http.post("/api/v1/keys", json={"name": "y", "expires_at": far}, headers=kim.headers), 422, "invalid-request"
    )
    assert http.post("/api/v1/keys", json={"name": "y", "expires_at": far}, headers=admin.headers).status_code == 201

    for path, body, headers in (
        ("/api/v1/keys", {"name": "y"}, by_narrow),
        ("/api/v1/keys", {"name": "y", "scopes": ["read"]}, by_narrow),
        ("/api/v1/keys", {"name": "y", "user": "kim"}, admin.headers),
        ("/api/v1/keys", {"name": "y", "scopes": ["admin"]}, by_narrow),
        (f"/api/v1/keys/{admin.key_id}/rotation", {}, by_narrow),
        ("/api/v1/keys", {"name": "y", "user": "ada"}, kim.headers),
        ("/api/v1/keys", {"name": "y", "expires_at": None}, kim.headers),
    ):
        assert_problem(http.post(path, json=body, headers=headers), 403, "not-allowed")
    assert_problem(http.delete(f"/api/v1/keys/{admin.key_id}", headers=by_narrow), 403, "not-allowed")
    for path in (f"/api/v1/keys/{kim.key_id}/rotation", f"/api/v1/keys/{admin.key_id}/rotation"):
        other = kim if admin.key_id in path else admin
        assert_problem(http.post(path, json={}, headers=other.headers), 404, "key-not-found")
    assert http.post("/api/v1/keys", json={"name": "y"}, headers=kim.headers).json["scopes"] == [
        "read",
        "predict",
        "train",
    ]


def test_a_key_has_only_scopes_of_its_role_and_a_time_to_come(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.VIEWER)
    body = {"name": "x", "scopes": ["train"], "models": ["a"], "expires_at": "2001-01-01T00:00:00Z"}

    problem = assert_problem(http.post("/api/v1/keys", json=body, headers=kim.headers), 422, "invalid-request")

    assert [fault["pointer"] for fault in problem["errors"]] == ["#/scopes", "#/models", "#/expires_at"]
    assert admin.key


def test_a_rotated_key_is_valid_with_its_old_secret_for_the_grace(
    http: FlaskClient, sessions: Sessions, app: Flask, admin: Person
) -> None:
    made = http.post(f"/api/v1/keys/{admin.key_id}/rotation", json={"grace_hours": 1}, headers=admin.headers).json
    both = [http.get("/api/v1/me", headers=headers) for headers in (admin.headers, {"X-Api-Key": made["key"]})]
    with sessions.begin() as session:
        session.execute(update(Key).values(previous_until=now(-1)))
    app.extensions[EXTENSION].gate.forget()

    assert [answer.status_code for answer in both] == [HTTPStatus.OK, HTTPStatus.OK]
    assert_problem(http.get("/api/v1/me", headers=admin.headers), 401, "key-expired")
    assert http.get("/api/v1/me", headers={"X-Api-Key": made["key"]}).status_code == HTTPStatus.OK


def test_an_expired_key_says_so(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    with sessions.begin() as session:
        session.execute(update(Key).values(expires_at=now(-1)))

    for _ in range(2):  # looked up, and remembered
        assert_problem(http.get("/api/v1/me", headers=admin.headers), 401, "key-expired")


def test_a_user_has_a_limited_number_of_valid_keys(http: FlaskClient, admin: Person) -> None:
    for number in range(keys.MAX_KEYS - 1):
        assert http.post("/api/v1/keys", json={"name": str(number)}, headers=admin.headers).status_code == 201

    assert_problem(http.post("/api/v1/keys", json={"name": "one more"}, headers=admin.headers), 409, "too-many-keys")


def test_a_browser_signs_in_and_out(http: FlaskClient, app: Flask, admin: Person) -> None:
    browser = app.test_client()
    page = {"Sec-Fetch-Site": "same-origin"}
    answer = browser.post("/api/v1/sessions", json={"key": admin.key}, headers=page)
    cookie = answer.headers["Set-Cookie"]

    assert answer.status_code == HTTPStatus.CREATED
    assert cookie.startswith("trainyard-session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert browser.get("/ui/jobs").status_code == HTTPStatus.OK
    assert browser.get("/api/v1/me").json["user"]["login"] == "ada"
    assert browser.get("/v2/models").status_code == HTTPStatus.UNAUTHORIZED  # wire formats take no cookies
    assert_problem(browser.post("/api/v1/jobs", json=DIGITS), 403, "origin-not-allowed")
    assert_problem(
        browser.post("/api/v1/jobs", json=DIGITS, headers={"Origin": "http://evil.example"}), 403, "origin-not-allowed"
    )
    assert browser.post("/api/v1/jobs", json=DIGITS, headers=page).status_code == HTTPStatus.ACCEPTED
    assert browser.delete("/api/v1/sessions/current", headers=page).status_code == HTTPStatus.NO_CONTENT
    assert browser.get("/ui/jobs").headers["Location"] == "/ui/sign-in?next=%2Fui%2Fjobs"
    browser.set_cookie("trainyard-session", cookie.partition("=")[2].partition(";")[0])
    assert browser.get("/ui/jobs").status_code == HTTPStatus.SEE_OTHER  # also with the old cookie
    assert http.get("/api/v1/me", headers=admin.headers).status_code == HTTPStatus.OK


def test_one_who_lost_rights_can_still_revoke_its_key(http: FlaskClient, admin: Person, join: Join) -> None:
    tea = join("tea", Role.MAINTAINER)
    http.patch("/api/v1/users/tea", json={"role": "viewer"}, headers=admin.headers)

    rotated = http.post(f"/api/v1/keys/{tea.key_id}/rotation", json={}, headers=tea.headers)
    revoked = http.delete(f"/api/v1/keys/{tea.key_id}", headers=tea.headers)

    assert (rotated.status_code, revoked.status_code) == (HTTPStatus.OK, HTTPStatus.NO_CONTENT)


def test_a_rotation_signs_the_other_browsers_out(http: FlaskClient, app: Flask, admin: Person) -> None:
    own, other, page = app.test_client(), app.test_client(), {"Sec-Fetch-Site": "same-origin"}
    for browser in (own, other):
        browser.post("/api/v1/sessions", json={"key": admin.key})
    http.get("/api/v1/me")

    own.post(f"/api/v1/keys/{admin.key_id}/rotation", json={"grace_hours": 0}, headers=page)

    assert own.get("/ui/jobs").status_code == HTTPStatus.OK
    assert other.get("/ui/jobs").status_code == HTTPStatus.SEE_OTHER


def test_only_so_many_browsers_are_signed_in_with_a_key(http: FlaskClient, app: Flask, admin: Person) -> None:
    browsers = [app.test_client() for _ in range(keys.MAX_SESSIONS + 1)]
    for browser in browsers:
        browser.post("/api/v1/sessions", json={"key": admin.key})

    statuses = [browser.get("/ui/jobs").status_code for browser in (browsers[0], browsers[1], browsers[-1])]

    assert statuses == [HTTPStatus.SEE_OTHER, HTTPStatus.OK, HTTPStatus.OK]
    assert http.get("/api/v1/me", headers=admin.headers).status_code == HTTPStatus.OK


def test_the_token_of_a_session_is_no_key(http: FlaskClient, app: Flask, admin: Person) -> None:
    browser = app.test_client()
    cookie = browser.post("/api/v1/sessions", json={"key": admin.key}).headers["Set-Cookie"]
    browser.get("/ui/jobs")  # now it is in memory
    token = cookie.partition("=")[2].partition(";")[0]

    for headers in ({"Authorization": f"session {token}"}, {"X-Api-Key": f"session {token}"}, {"X-Api-Key": token}):
        assert_problem(http.get("/api/v1/jobs", headers=headers), 401, "not-authenticated")


def test_a_session_ends_with_its_key(http: FlaskClient, app: Flask, admin: Person, join: Join) -> None:
    kim, browser = join("kim", Role.MEMBER), app.test_client()
    browser.post("/api/v1/sessions", json={"key": kim.key})
    assert browser.get("/ui/jobs").status_code == HTTPStatus.OK

    http.delete(f"/api/v1/keys/{kim.key_id}", headers=admin.headers)

    assert browser.get("/ui/jobs").status_code == HTTPStatus.SEE_OTHER


def test_only_a_key_that_may_read_signs_in(http: FlaskClient, admin: Person) -> None:
    made = http.post("/api/v1/keys", json={"name": "x", "scopes": ["predict"]}, headers=admin.headers).json

    assert_problem(http.post("/api/v1/sessions", json={"key": made["key"]}), 403, "not-allowed")
    assert_problem(http.post("/api/v1/sessions", json={"key": "ty_nonsense"}), 401, "not-authenticated")


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


def test_an_event_stream_ends_with_its_key(
    http: FlaskClient, app: Flask, admin: Person, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.0)
    kim = join("kim", Role.MEMBER)
    environ = {"HTTP_AUTHORIZATION": f"Bearer {kim.key}", "REQUEST_METHOD": "GET", "PATH_INFO": "/api/v1/events"}

    class Endless:
        is_closed = False

        def __next__(self) -> str:
            return ":\n\n"

        def close(self) -> None:
            self.is_closed = True

    inner = Endless()
    stream = streams.AdmittedStream(inner, app.extensions[EXTENSION].gate, environ)
    first = next(stream)
    http.delete(f"/api/v1/keys/{kim.key_id}", headers=admin.headers)

    assert first == ":\n\n"
    assert list(stream) == []
    assert inner.is_closed


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
    http.patch("/api/v1/users/tea", json={"role": "member"}, headers=admin.headers)

    retried = http.post(f"/api/v1/jobs/{job['id']}/retry", headers=tea.headers)

    assert_problem(retried, 409, "name-taken")
