"""Test who is let in, and what each role and each scope may do."""

import base64
import time
from copy import deepcopy
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from api.access import gate
from api.access.callers import TokenBucket
from api.access.needs import find_need
from api.app import build_application
from api.services import EXTENSION
from shared.access import audit
from shared.access.rights import SCOPES_OF_ROLE, Role, Scope
from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.base import Base
from shared.errors import NotAuthenticated
from shared.registry import versions
from shared.settings import Settings
from tests.integration.access.conftest import Join, Person
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem

NIL = "00000000-0000-0000-0000-000000000000"


def list_rules(app: Flask) -> list[tuple[str, str, str]]:
    """Return method, path with values in place of parameters, and endpoint of every rule."""
    values: dict[str, Any] = {
        "job_id": NIL,
        "index": 0,
        "number": 1,
        "first_id": 1,
        "picture_format": "png",
        "answer_format": "jsonl",
        "reference": "1",
        "version": "1",
        "_": "v1",
    }
    found = []
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            values["rest"] = "models/x" if rule.endpoint.startswith("tf_serving.") else "nothing"
            path = adapter.build(rule.endpoint, {name: values.get(name, "x") for name in rule.arguments})
            found += [(method, path, rule.endpoint) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return sorted(found)


RULES = list_rules(build_application())
SPECIAL = {
    "invitations.accept_invitation",
    "me.disconnect_identity",  # it wants a key with all rights of its user
    "sessions.sign_in",
    "sessions.sign_out",
}
"""The views that have no scope to be refused for, and whose own tests say what they refuse."""


def ask(http: FlaskClient, method: str, path: str, headers: dict[str, str]) -> int:
    return http.open(path, method=method, headers=headers).status_code


def test_every_view_declares_what_it_needs(application: Flask) -> None:
    undeclared = [endpoint for _, _, endpoint in RULES if find_need(application, endpoint) is None]

    assert undeclared == []


def test_what_is_open_to_everybody_is_known(application: Flask) -> None:
    open_ones = {endpoint for _, _, endpoint in RULES if find_need(application, endpoint) == "open"}

    assert open_ones == {
        "docs",
        "health.show_liveness",
        "health.show_readiness",
        "mlflow.show_health",
        "open_inference.show_liveness",
        "open_inference.show_readiness",
        "openapi",
        "invitations.accept_invitation",
        "invitations.preview_invitation",
        "problem_types.explain_problem_type",
        "sessions.begin_sign_in",
        "sessions.sign_in",
        "swagger.oauth2-redirect",
        "swagger.static",
        "swagger.swagger",
        "tf_serving.show_liveness",
        "web.finish_sign_in",
        "web.show_faults",
        "web.show_join",
        "web.show_missing",
        "web.show_problem_type",
        "web.show_problem_types",
        "web.show_sign_in",
        "web.show_static",
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_role_and_each_scope_may_do_what_the_table_says(
    http: FlaskClient, application: Flask, admin: Person, join: Join
) -> None:
    people = {Role.ADMIN: admin} | {role: join(f"one-{role}", role) for role in Role if role is not Role.ADMIN}
    keys: list[tuple[str, frozenset[Scope]]] = [(person.key, SCOPES_OF_ROLE[role]) for role, person in people.items()]
    for scope in Scope:
        made = http.post("/api/v1/keys", json={"name": scope, "scopes": [scope]}, headers=admin.headers)
        keys.append((made.json["key"], frozenset({scope})))
    wrong = []
    for method, path, endpoint in RULES:
        need = find_need(application, endpoint)
        if endpoint in SPECIAL:
            continue
        for key, scopes in keys:
            status = ask(http, method, path, {"Authorization": f"Bearer {key}"})
            is_refused = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            if is_refused != (isinstance(need, Scope) and need not in scopes):
                wrong.append((method, path, sorted(scopes), status))

    assert wrong == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer ty_AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA000000"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Digest x"},
        {"X-Api-Key": "\u00e4"},
    ],
    ids=["nothing", "wrong checksum", "no key", "other scheme", "not ASCII"],
)
def test_a_stranger_is_refused_everywhere(
    http: FlaskClient, application: Flask, admin: Person, headers: dict[str, str]
) -> None:
    assert admin.key
    for method, path, endpoint in RULES:
        if find_need(application, endpoint) != "open":
            answer = http.open(path, method=method, headers=headers)
            if endpoint.startswith("web."):
                assert (answer.status_code, answer.headers["Location"][:12]) == (303, "/ui/sign-in?"), path
            else:
                assert answer.status_code == HTTPStatus.UNAUTHORIZED, (method, path, answer.text)
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="trainyard"'


def test_a_key_comes_in_each_clients_own_way(http: FlaskClient, admin: Person) -> None:
    basic = base64.b64encode(f"anything:{admin.key}".encode()).decode()

    for headers in (admin.headers, {"Authorization": f"Basic {basic}"}, {"X-Api-Key": admin.key}):
        assert http.get("/api/v1/me", headers=headers).json["owner"] == "ada"


def test_two_different_keys_are_refused(http: FlaskClient, admin: Person, join: Join) -> None:
    other = join("bob", Role.MEMBER)

    same = http.get("/api/v1/me", headers={**admin.headers, "X-Api-Key": admin.key})
    both = http.get("/api/v1/me", headers={**admin.headers, "X-Api-Key": other.key})

    assert same.status_code == HTTPStatus.OK
    assert_problem(both, 422, "invalid-request")


def test_a_key_in_the_address_is_refused(http: FlaskClient, admin: Person) -> None:
    answer = http.get(f"/api/v1/me?key={admin.key}")
    encoded = http.get(f"/api/v1/me?key=%74y{admin.key[2:]}")

    assert_problem(encoded, 422, "invalid-request")
    problem = assert_problem(answer, 422, "invalid-request")
    assert "revoke" in problem["detail"]
    assert admin.key not in answer.text


def test_without_an_admin_it_says_what_to_do(http: FlaskClient) -> None:
    problem = assert_problem(http.get("/api/v1/jobs"), 503, "no-admin-yet")

    assert "python -m api.admin invite" in problem["detail"]
    assert http.get("/health/live").status_code == HTTPStatus.OK


@pytest.mark.parametrize("path", ["/v1/models/digits:predict", "/v2/models/digits/infer", "/models/digits"])
def test_a_wire_format_refuses_in_its_own_words(http: FlaskClient, admin: Person, path: str) -> None:
    reader = http.post("/api/v1/keys", json={"name": "x", "scopes": ["read"]}, headers=admin.headers).json["key"]

    without = http.post(path, json={})
    forbidden = http.post(path, json={}, headers={"Authorization": f"Bearer {reader}"})

    assert (without.status_code, forbidden.status_code) == (401, 403)
    if path.startswith("/models"):
        assert without.json["error_code"] == "UNAUTHENTICATED"
        assert forbidden.json["error_code"] == "PERMISSION_DENIED"
    else:
        assert set(without.json or {}) == set(forbidden.json or {}) == {"error"}
        assert "key" in without.json["error"]


def test_predictions_with_a_known_key_do_not_reach_flask(
    digits: FlaskClient, admin: Person, met_by_flask: list[str]
) -> None:
    path, body = "/api/v1/models/digits/predictions", {"instances": [[[0.0] * 8] * 8]}

    answers = [digits.post(path, json=body, headers=admin.headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len([one for one in met_by_flask if one.startswith(path)]) == 1
    assert digits.post(path, json=body).status_code == HTTPStatus.UNAUTHORIZED


def test_a_key_for_some_models_sees_no_others(digits: FlaskClient, admin: Person) -> None:
    made = digits.post("/api/v1/keys", json={"name": "demo", "models": ["flow*"]}, headers=admin.headers).json
    other = digits.post("/api/v1/keys", json={"name": "demo", "models": ["dig*"]}, headers=admin.headers).json
    body = {"instances": [[[0.0] * 8] * 8]}

    assert made["scopes"] == ["predict"]
    for path in (
        "/api/v1/models/digits/predictions",
        "/v1/models/digits:predict",
        "/v2/models/digits/infer",
        "/models/digits/invocations",
        "/models/digits",
    ):
        for _ in range(2):  # in Flask, and then before it
            refused = digits.post(path, json=body, headers={"X-Api-Key": made["key"]})
            assert refused.status_code == HTTPStatus.NOT_FOUND, (path, refused.text)
    for path in ("/v1/models/digits", "/v1/models/digits/metadata", "/v2/models/digits", "/v2/models/digits/ready"):
        assert digits.get(path, headers={"X-Api-Key": made["key"]}).status_code == HTTPStatus.NOT_FOUND, path
        assert digits.get(path, headers={"X-Api-Key": other["key"]}).status_code == HTTPStatus.OK, path
    allowed = digits.post("/api/v1/models/digits/predictions", json=body, headers={"X-Api-Key": other["key"]})
    assert allowed.status_code == HTTPStatus.OK
    assert digits.get("/api/v1/models", headers={"X-Api-Key": other["key"]}).status_code == HTTPStatus.FORBIDDEN


def test_a_revoked_key_ends_here_at_once_and_elsewhere_within_a_second(
    http: FlaskClient, app: Flask, settings: Settings, admin: Person, join: Join
) -> None:
    bob = join("bob", Role.MEMBER)
    sessions = app.extensions[EXTENSION].sessions
    elsewhere = gate.KeyGate(sessions, sessions)
    environ = {"HTTP_AUTHORIZATION": f"Bearer {bob.key}", "REQUEST_METHOD": "GET", "PATH_INFO": "/api/v1/me"}
    assert http.get("/api/v1/me", headers=bob.headers).status_code == HTTPStatus.OK
    assert elsewhere.identify(environ).login == "bob"
    assert elsewhere.find_cached(environ) is not None

    http.delete(f"/api/v1/keys/{bob.key_id}", headers=admin.headers)

    assert settings.auth == "keys"
    assert http.get("/api/v1/me", headers=bob.headers).status_code == HTTPStatus.UNAUTHORIZED
    give_up_at = time.monotonic() + 10 * gate.POLL_SECONDS
    while elsewhere.find_cached(environ) is not None:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    with pytest.raises(NotAuthenticated):
        elsewhere.identify(environ)


def test_a_disabled_user_has_no_access_until_it_is_enabled(http: FlaskClient, admin: Person, join: Join) -> None:
    bob = join("bob", Role.MEMBER)
    http.get("/api/v1/me", headers=bob.headers)

    http.patch("/api/v1/users/bob", json={"disabled": True}, headers=admin.headers)
    refused = http.get("/api/v1/me", headers=bob.headers)
    http.patch("/api/v1/users/bob", json={"disabled": False}, headers=admin.headers)

    assert_problem(refused, 401, "not-authenticated")
    assert http.get("/api/v1/me", headers=bob.headers).status_code == HTTPStatus.OK


def test_known_callers_go_on_without_the_database(
    digits: FlaskClient, app: Flask, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = "/api/v1/models/digits/predictions", {"instances": [[[0.0] * 8] * 8]}
    digits.post(path, json=body, headers=admin.headers)
    monkeypatch.setattr(gate, "POLL_SECONDS", 0.0)
    app.extensions[EXTENSION].sessions.kw["bind"].dispose()

    def fail(_: object) -> int:
        raise DATABASE_ERRORS[0]("SELECT", {}, Exception("away"))

    monkeypatch.setattr(audit, "read_generation", fail)

    known = digits.post(path, json=body, headers=admin.headers)
    unknown = digits.post(path, json=body, headers={"X-Api-Key": admin.key})

    assert known.status_code == HTTPStatus.OK
    assert_problem(unknown, 503, "database-unavailable")


def test_members_change_their_own_jobs_and_maintainers_those_of_others(
    http: FlaskClient, admin: Person, join: Join
) -> None:
    ann, bob, tea = join("ann", Role.MEMBER), join("bob", Role.MEMBER), join("tea", Role.MAINTAINER)
    job = http.post("/api/v1/jobs", json=DIGITS, headers=ann.headers).json
    path = f"/api/v1/jobs/{job['id']}"

    refused = http.post(f"{path}/cancellation", headers=bob.headers)
    done = http.post(f"{path}/cancellation", headers=tea.headers)
    retried = http.post(f"{path}/retry", headers=tea.headers)
    own = http.delete(path, headers=ann.headers)

    assert job["owner"] == "ann"
    assert "ann" in assert_problem(refused, 403, "not-allowed")["detail"]
    assert done.json["status"] == "cancelled"
    assert retried.json["owner"] == "tea"
    assert own.status_code in (HTTPStatus.NO_CONTENT, HTTPStatus.CONFLICT)
    events = http.get("/api/v1/audit?action=job-cancelled", headers=admin.headers).json["events"]
    assert [(event["actor"], event["object"], event["before"]) for event in events] == [
        ("tea", job["id"], {"owner": "ann"})
    ]


def test_only_an_admin_may_overtake_others(http: FlaskClient, admin: Person, join: Join) -> None:
    bob = join("bob", Role.MEMBER)
    first = {**DIGITS, "resources": {"priority": 1}}

    assert_problem(http.post("/api/v1/jobs", json=first, headers=bob.headers), 403, "not-allowed")
    later = http.post("/api/v1/jobs", json={**DIGITS, "resources": {"priority": -1}}, headers=bob.headers)
    raised = http.patch(f"/api/v1/jobs/{later.json['id']}", json={"priority": 5}, headers=bob.headers)

    assert_problem(raised, 403, "not-allowed")
    other = {**first, "model": "other"}
    job = http.post("/api/v1/jobs", json=other, headers=admin.headers).json
    http.post(f"/api/v1/jobs/{job['id']}/cancellation", headers=admin.headers)
    tea = join("tea", Role.MAINTAINER)
    assert http.post(f"/api/v1/jobs/{job['id']}/retry", headers=tea.headers).json["priority"] == 0


def test_the_last_use_of_a_key_is_written(http: FlaskClient, app: Flask, sessions: Sessions, admin: Person) -> None:
    http.get("/api/v1/me", headers=admin.headers)

    app.extensions[EXTENSION].gate.write_uses()

    key = http.get(f"/api/v1/keys/{admin.key_id}", headers=admin.headers).json
    assert key["last_used_at"] is not None
    assert key["last_used_from"] == "127.0.0.1"
    assert sessions is not None


def test_no_secret_is_stored_or_answered(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    tables = [Base.metadata.tables[name] for name in ("keys", "audit_events", "browser_sessions", "invitations")]
    with sessions() as session:
        rows = [str(list(session.execute(select(table)))) for table in tables]
    answers = [http.get(path, headers=admin.headers).text for path in ("/api/v1/keys", "/api/v1/audit", "/api/v1/me")]

    assert not any(admin.key in one or admin.key[12:] in one for one in rows + answers)


def test_a_reproduction_does_not_overtake_others(
    digits: FlaskClient, sessions: Sessions, admin: Person, join: Join
) -> None:
    with sessions.begin() as session:
        version = versions.get_described_version(session, "digits", "1")
        manifest = deepcopy(version.manifest)
        manifest["lineage"]["spec"]["resources"]["priority"] = 90
        version.manifest = manifest
    bob, path = join("bob", Role.MEMBER), "/api/v1/models/digits/versions/1/reproduction"

    by_member = digits.post(path, headers=bob.headers).json["priority"]
    by_admin = digits.post(path, headers=admin.headers).json["priority"]

    assert (by_member, by_admin) == (0, 90)


def test_a_key_with_a_rate_is_answered_so_often(
    digits: FlaskClient, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = digits.post("/api/v1/keys", json={"name": "demo", "models": ["digits"], "rate": 3}, headers=admin.headers)
    headers = {"X-Api-Key": made.json["key"]}
    clock = [time.monotonic()]
    monkeypatch.setattr(TokenBucket, "clock", lambda _: clock[0])
    path, body = "/api/v1/models/digits/predictions", {"instances": [[[0.0] * 8] * 8]}

    def send(count: int) -> list[int]:
        return [digits.post(path, json=body, headers=headers).status_code for _ in range(count)]

    assert made.json["rate"] == 3
    assert send(5) == [200, 200, 200, 429, 429]
    clock[0] += 0.4
    assert send(2) == [200, 429]
    clock[0] += 60.0
    digits.get("/api/v1/me", headers=headers)
    answer = [digits.post(path, json=body, headers=headers) for _ in range(3)][-1]
    assert "3 requests a second" in assert_problem(answer, 429, "rate-exceeded")["detail"]
    assert answer.headers["Retry-After"]
    assert digits.post(path, json=body, headers=admin.headers).status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    "path", ["/api/v1/models/digits/predictions", "/v1/models/digits:predict", "/v2/models/digits/infer"]
)
def test_a_wrong_key_is_refused_before_flask_in_the_same_words(
    digits: FlaskClient, admin: Person, met_by_flask: list[str], path: str
) -> None:
    revoked = digits.post("/api/v1/keys", json={"name": "x"}, headers=admin.headers).json
    digits.delete(f"/api/v1/keys/{revoked['id']}", headers=admin.headers)
    headers = [{"X-Api-Key": "ty_AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA000000"}, {"X-Api-Key": revoked["key"]}]

    answers = [[digits.post(path, json={"instances": []}, headers=one) for one in headers] for _ in range(2)]
    in_flask = digits.post(f"{path}?x=1" if "api" in path else path, data=b"", headers=headers[0])

    assert len([one for one in met_by_flask if one.startswith(path)]) == 1 + 1
    for first, again in zip(*answers, strict=True):
        assert (first.status_code, first.headers["WWW-Authenticate"]) == (401, 'Bearer realm="trainyard"')
        assert {name: value for name, value in first.json.items() if name != "request_id"} == {
            name: value for name, value in again.json.items() if name != "request_id"
        }
    assert in_flask.status_code == HTTPStatus.UNAUTHORIZED
    assert set(in_flask.json or {}) == set(answers[0][0].json or {})
