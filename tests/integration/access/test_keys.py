"""Test keys and the browsers that sign in with them."""

from http import HTTPStatus

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from api.access import streams
from api.services import EXTENSION
from shared.access import browser_sessions, keys
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import Key
from shared.database.tables.base import now
from tests.integration.access.conftest import Join, Person
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem

CSV = {"Content-Type": "text/csv"}


def test_times_are_those_of_their_zone(http: FlaskClient, admin: Person) -> None:
    made = http.post(
        "/api/v1/keys", json={"name": "x", "expires_at": "2027-01-01T22:00:00+09:00"}, headers=admin.headers
    ).json

    shown = http.get(f"/api/v1/keys/{made['id']}", headers=admin.headers).json

    assert shown["expires_at"] == "2027-01-01T13:00:00Z"


def test_a_service_account_has_the_keys_that_an_admin_makes(http: FlaskClient, admin: Person) -> None:
    made = http.post("/api/v1/users", json={"login": "web-shop"}, headers=admin.headers)
    key = http.post(
        "/api/v1/keys",
        json={"name": "shop", "user": "web-shop", "scopes": ["predict"], "expires_at": None},
        headers=admin.headers,
    )
    again = http.post("/api/v1/users", json={"login": "web-shop"}, headers=admin.headers)

    assert (made.json["kind"], made.json["projects"]) == ("service", {"default": "viewer"})
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
    http.put("/api/v1/projects/default/members/tea", json={"role": "viewer"}, headers=admin.headers)

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
    browsers = [app.test_client() for _ in range(browser_sessions.MAX_SESSIONS + 1)]
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
    gate = app.extensions[EXTENSION].gate
    stream = streams.AdmittedStream(inner, gate, environ, gate.identify(environ))
    first = next(stream)
    http.delete(f"/api/v1/keys/{kim.key_id}", headers=admin.headers)

    assert first == ":\n\n"
    assert list(stream) == []
    assert inner.is_closed


def test_brute_force_is_stopped_at_the_eleventh_attempt(http: FlaskClient, admin: Person) -> None:
    answers = [http.post("/api/v1/sessions", json={"key": f"guess-{number}"}) for number in range(12)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert answers[-1].headers["Retry-After"]
    assert_problem(answers[-1], 429, "too-many-sign-ins")
    assert http.post("/api/v1/sessions", json={"key": admin.key}).status_code == HTTPStatus.CREATED
