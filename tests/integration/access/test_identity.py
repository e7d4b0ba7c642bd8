"""Test sign-ins with an OpenID provider, from the button of a page to the session, and with providers that lie."""

import base64
import dataclasses
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import ValidationError
from werkzeug.test import TestResponse

from api.access.identity_provider import PAUSE_SECONDS, IdentityProvider, ProviderSettings, Ticket
from api.services import EXTENSION
from shared.access import invitations
from shared.access.invitations import Guest
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.errors import IdentityProviderUnavailable, SignInFailed
from shared.settings import Settings
from tests.integration.access.conftest import COMMAND, Join, Person
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, run_issuer
from tests.support.problems import assert_problem

BEGIN = "/api/v1/sessions/oidc"
RETURN = "/ui/sign-in/oidc"
COOKIE = "trainyard-session"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with run_issuer() as issuer:
        yield issuer


@pytest.fixture
def settings(settings: Settings, issuer: Issuer, tmp_path: Path) -> Settings:
    """Provide settings with a provider, at which this service has a secret."""
    secret = tmp_path / "client-secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    changed = {
        "oidc_issuer": issuer.address,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret_file": secret,
        "oidc_name": "School account",
    }
    return settings.model_copy(update=changed)


@pytest.fixture
def browser(application: Flask, admin: Person) -> FlaskClient:  # noqa: ARG001 - without an admin nobody signs in
    """Provide a client that keeps cookies."""
    return application.test_client(use_cookies=True)


def begin(browser: FlaskClient, **asked: Any) -> str:
    begun = browser.post(BEGIN, json=asked)
    assert begun.status_code == HTTPStatus.CREATED, begun.text
    return str(begun.json["location"])


def come_back(browser: FlaskClient, arguments: dict[str, str]) -> TestResponse:
    return browser.get(RETURN, query_string=arguments)


def sign_in(browser: FlaskClient, issuer: Issuer, subject: str, asked: dict[str, Any] | None = None) -> TestResponse:
    return come_back(browser, issuer.sign_in(begin(browser, **(asked or {})), subject))


def invite(sessions: Sessions, login: str, role: Role = Role.MEMBER) -> str:
    with sessions.begin() as session:
        (made,) = invitations.invite(session, COMMAND, [Guest(login, "", role)])
        assert made.token is not None
        return made.token


def show_me(browser: FlaskClient) -> Any:
    return browser.get("/api/v1/me").json


def list_actions(http: FlaskClient, admin: Person, login: str) -> list[tuple[str, str]]:
    events = http.get(f"/api/v1/audit?object=user:{login}", headers=admin.headers).json["events"]
    return [(event["action"], event["via"]) for event in reversed(events)]


def test_who_was_invited_joins_and_signs_in_with_an_account(
    http: FlaskClient, browser: FlaskClient, issuer: Issuer, sessions: Sessions, admin: Person
) -> None:
    token = invite(sessions, "kim")
    joined = sign_in(browser, issuer, "subject-1", {"invitation": token})
    me = show_me(browser)
    signed_out = browser.delete("/api/v1/sessions/current", headers={"Sec-Fetch-Site": "same-origin"})
    after = browser.get("/api/v1/me")
    again = sign_in(browser, issuer, "subject-1", {"next": "/ui/models?x=1"})

    assert (joined.status_code, joined.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/ui/")
    assert me["user"]["login"] == "kim"
    assert (me["user"]["key_id"], me["user"]["scopes"]) == (None, ["read", "predict", "train"])
    assert signed_out.status_code == HTTPStatus.NO_CONTENT
    assert after.status_code == HTTPStatus.UNAUTHORIZED
    assert again.headers["Location"] == "/ui/models?x=1"
    assert show_me(browser)["user"]["login"] == "kim"
    assert http.get("/api/v1/users/kim", headers=admin.headers).json["issuer"] == issuer.address
    assert list_actions(http, admin, "kim") == [
        ("invited", "command"),
        ("invitation-accepted", "invitation"),
        ("identity-connected", "invitation"),
        ("signed-in", "identity"),
        ("signed-out", "session"),
        ("signed-in", "identity"),
    ]
    assert_problem(http.post("/api/v1/invitations/acceptance", json={"token": token}), 410, "invitation-unusable")


def test_the_provider_is_told_who_we_are_and_what_only_we_know(browser: FlaskClient, issuer: Issuer) -> None:
    sign_in(browser, issuer, "subject-1")

    (exchanged,) = issuer.exchanged
    assert (
        base64.b64decode(exchanged["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{CLIENT_SECRET}"
    )
    assert len(exchanged["code_verifier"]) >= 43  # RFC 7636, 4.1
    assert exchanged["redirect_uri"] == "http://localhost/ui/sign-in/oidc"


def test_a_stranger_is_refused(browser: FlaskClient, issuer: Issuer, http: FlaskClient, admin: Person) -> None:
    refused = sign_in(browser, issuer, "stranger")

    assert refused.status_code == HTTPStatus.FORBIDDEN
    assert "School account" in refused.text
    assert browser.get_cookie(COOKIE) is None
    assert [user["login"] for user in http.get("/api/v1/users", headers=admin.headers).json["users"]] == ["ada"]


@pytest.fixture
def open_browser(application: Flask, issuer: Issuer, admin: Person) -> Iterator[FlaskClient]:  # noqa: ARG001
    """Provide a browser of a service that lets everybody in whom the provider knows."""
    before = application.extensions[EXTENSION]
    provider = IdentityProvider(ProviderSettings(issuer.address, CLIENT_ID, None, "School account", Role.MEMBER))
    application.extensions[EXTENSION] = dataclasses.replace(before, identity_provider=provider)
    yield application.test_client(use_cookies=True)
    application.extensions[EXTENSION] = before


@pytest.mark.parametrize(
    ("claims", "login"),
    [
        ({"preferred_username": "Kim"}, "kim"),
        ({"preferred_username": "kim.lee@school.example", "name": "김\u202e리"}, "kim.lee"),
        ({"preferred_username": "DOMAIN\\kim"}, "domain-kim"),
    ],
)
def test_with_a_role_for_everybody_a_stranger_becomes_a_user(
    open_browser: FlaskClient, issuer: Issuer, claims: dict[str, str], login: str
) -> None:
    for _ in range(2):
        back = come_back(open_browser, issuer.sign_in(begin(open_browser), "subject-2", **claims))

        assert back.status_code == HTTPStatus.SEE_OTHER, back.text
        assert show_me(open_browser)["user"]["login"] == login
        assert show_me(open_browser)["user"]["projects"] == {"default": "member"}
    assert {(form["client_id"], form["authorization"]) for form in issuer.exchanged} == {(CLIENT_ID, "")}  # no secret


@pytest.mark.parametrize("name", ["ada", "ADA@elsewhere.example", "grace", "김", "", "anonymous"])
def test_the_name_of_somebody_else_is_never_taken_over(
    open_browser: FlaskClient, issuer: Issuer, sessions: Sessions, name: str
) -> None:
    token = invite(sessions, "grace")
    refused = come_back(open_browser, issuer.sign_in(begin(open_browser), "attacker", preferred_username=name))

    assert refused.status_code == HTTPStatus.CONFLICT
    assert open_browser.get_cookie(COOKIE) is None
    accepted = open_browser.post("/api/v1/invitations/acceptance", json={"token": token})
    assert accepted.status_code == HTTPStatus.CREATED  # the invitation has stayed


def test_a_user_connects_an_account_and_disconnects_it(
    http: FlaskClient, browser: FlaskClient, issuer: Issuer, admin: Person, join: Join
) -> None:
    kim = join("kim", Role.MEMBER)
    own = {"Sec-Fetch-Site": "same-origin"}
    without_session = browser.post(BEGIN, json={"connect": True})
    browser.post("/api/v1/sessions", json={"key": kim.key}, headers=own)
    from_elsewhere = browser.post(BEGIN, json={"connect": True}, headers={"Origin": "http://evil.example"})
    location = browser.post(BEGIN, json={"connect": True, "next": "/ui/account"}, headers=own).json["location"]
    connected = come_back(browser, issuer.sign_in(location, "subject-1"))

    assert_problem(without_session, 400, "sign-in-failed")
    assert from_elsewhere.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
    assert connected.headers["Location"] == "/ui/account"
    assert show_me(browser)["user"]["key_id"] == kim.key_id  # it is still the session of the key
    other = browser.application.test_client(use_cookies=True)
    sign_in(other, issuer, "subject-1")
    assert show_me(other)["user"]["login"] == "kim"
    assert other.delete("/api/v1/me/identity", headers=own).status_code == HTTPStatus.NO_CONTENT
    assert other.get("/api/v1/me").status_code == HTTPStatus.UNAUTHORIZED
    assert browser.get("/api/v1/me").status_code == HTTPStatus.OK
    assert sign_in(other, issuer, "subject-1").status_code == HTTPStatus.FORBIDDEN
    assert list_actions(http, admin, "kim")[-3:] == [
        ("identity-connected", "session"),
        ("signed-in", "identity"),
        ("identity-disconnected", "session"),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_limited_key_neither_connects_nor_disconnects_an_account(
    http: FlaskClient, browser: FlaskClient, issuer: Issuer, sessions: Sessions, admin: Person
) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    made = http.post("/api/v1/keys", json={"name": "reader", "scopes": ["read"]}, headers=admin.headers).json
    browser.post("/api/v1/sessions", json={"key": made["key"]}, headers=own)
    refused = browser.post(BEGIN, json={"connect": True}, headers=own)
    sign_in(browser.application.test_client(use_cookies=True), issuer, "a", {"invitation": invite(sessions, "kim")})
    disconnected = http.delete("/api/v1/me/identity", headers={"Authorization": f"Bearer {made['key']}"})

    assert_problem(refused, 403, "not-allowed")
    assert_problem(disconnected, 403, "not-allowed")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_sign_in_outlives_the_end_of_its_connection(
    http: FlaskClient, browser: FlaskClient, issuer: Issuer, join: Join
) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    kim = join("kim", Role.MEMBER)
    for number in range(8):
        browser.post("/api/v1/sessions", json={"key": kim.key}, headers=own)
        location = browser.post(BEGIN, json={"connect": True}, headers=own).json["location"]
        come_back(browser, issuer.sign_in(location, f"subject-{number}"))
        other = browser.application.test_client(use_cookies=True)
        arguments = issuer.sign_in(begin(other), f"subject-{number}")
        threads = [
            threading.Thread(target=come_back, args=(other, arguments)),
            threading.Thread(target=http.delete, args=("/api/v1/me/identity",), kwargs={"headers": kim.headers}),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert other.get("/api/v1/me").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_chose_a_login_gets_nothing_of_its_invitation(
    http: FlaskClient, open_browser: FlaskClient, issuer: Issuer, admin: Person
) -> None:
    come_back(open_browser, issuer.sign_in(begin(open_browser), "squatter", preferred_username="newprof"))
    http.put("/api/v1/projects/class-9", json={}, headers=admin.headers)
    guest = {"login": "newprof", "role": "maintainer", "project": "class-9"}
    made = http.post("/api/v1/invitations", json=[guest], headers=admin.headers).json["invitations"][0]
    before = show_me(open_browser)["user"]["projects"]
    http.post("/api/v1/invitations/acceptance", json={"token": made["link"].partition("#")[2]})
    after = open_browser.get("/api/v1/me").status_code

    assert (made["joined"], before, after) == (False, {"default": "member"}, HTTPStatus.UNAUTHORIZED)
    again = come_back(open_browser, issuer.sign_in(begin(open_browser), "squatter", preferred_username="newprof"))
    assert again.status_code == HTTPStatus.CONFLICT


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_comes_into_an_archived_project(
    http: FlaskClient, open_browser: FlaskClient, issuer: Issuer, admin: Person
) -> None:
    http.post("/api/v1/projects/default/archive", headers=admin.headers)
    refused = come_back(open_browser, issuer.sign_in(begin(open_browser), "late", preferred_username="late"))

    assert refused.status_code == HTTPStatus.CONFLICT
    assert http.get("/api/v1/users/late", headers=admin.headers).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_account_is_connected_with_who_began_it(browser: FlaskClient, issuer: Issuer, join: Join) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    statuses: list[int] = []
    for follower in (None, join("lee", Role.MEMBER)):
        kim = join(f"kim-{len(statuses)}", Role.MEMBER)
        browser.post("/api/v1/sessions", json={"key": kim.key}, headers=own)
        location = browser.post(BEGIN, json={"connect": True}, headers=own).json["location"]
        browser.delete("/api/v1/sessions/current", headers=own)
        if follower is not None:
            browser.post("/api/v1/sessions", json={"key": follower.key}, headers=own)
        statuses.append(come_back(browser, issuer.sign_in(location, "subject-of-kim")).status_code)

    assert statuses == [HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST]
    assert sign_in(browser, issuer, "subject-of-kim").status_code == HTTPStatus.FORBIDDEN  # nobody has it


def test_an_account_belongs_to_one_user(
    browser: FlaskClient, issuer: Issuer, sessions: Sessions, http: FlaskClient
) -> None:
    sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim")})
    token = invite(sessions, "lee")
    other = browser.application.test_client(use_cookies=True)
    taken = sign_in(other, issuer, "subject-1", {"invitation": token})

    assert taken.status_code == HTTPStatus.CONFLICT
    assert other.get_cookie(COOKIE) is None
    assert http.post("/api/v1/invitations/acceptance", json={"token": token}).json["user"]["login"] == "lee"


def test_who_would_have_no_way_in_keeps_the_account(browser: FlaskClient, issuer: Issuer, sessions: Sessions) -> None:
    sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim")})
    own = {"Sec-Fetch-Site": "same-origin"}
    refused = browser.delete("/api/v1/me/identity", headers=own)
    made = browser.post("/api/v1/keys", json={"name": "laptop"}, headers=own)
    allowed = browser.delete("/api/v1/me/identity", headers=own)

    assert_problem(refused, 422, "invalid-request")
    assert made.status_code == HTTPStatus.CREATED
    assert allowed.status_code == HTTPStatus.NO_CONTENT


def test_a_disabled_user_and_one_who_was_reset_are_out(
    http: FlaskClient, browser: FlaskClient, issuer: Issuer, sessions: Sessions, admin: Person
) -> None:
    sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim")})
    http.patch("/api/v1/users/kim", json={"disabled": True}, headers=admin.headers)
    disabled = browser.get("/api/v1/me").status_code, sign_in(browser, issuer, "subject-1").status_code
    http.patch("/api/v1/users/kim", json={"disabled": False}, headers=admin.headers)
    sign_in(browser, issuer, "subject-1")
    link = http.post("/api/v1/users/kim/reset", headers=admin.headers).json["link"]
    before = browser.get("/api/v1/me").status_code
    http.post("/api/v1/invitations/acceptance", json={"token": link.partition("#")[2]})

    assert disabled == (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    assert before == HTTPStatus.OK
    assert browser.get("/api/v1/me").status_code == HTTPStatus.UNAUTHORIZED
    assert sign_in(browser, issuer, "subject-1").status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": [CLIENT_ID, "another"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"azp": "another"},
        {"aud": None},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 7},
        {"sub": "a\0b"},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
        {"nbf": 4102444800},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_us_now_signs_nobody_in(
    browser: FlaskClient, issuer: Issuer, sessions: Sessions, changed: dict[str, Any]
) -> None:
    location = begin(browser, invitation=invite(sessions, "kim"))
    refused = come_back(browser, issuer.sign_in(location, "subject-1", **changed))

    assert refused.status_code == HTTPStatus.BAD_REQUEST
    assert browser.get_cookie(COOKIE) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_without_the_signature_of_the_provider_signs_nobody_in(
    browser: FlaskClient, issuer: Issuer, sessions: Sessions, algorithm: str
) -> None:
    issuer.algorithm = algorithm
    refused = sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim")})

    assert refused.status_code == HTTPStatus.BAD_REQUEST
    assert browser.get_cookie(COOKIE) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_new_keys_of_the_provider_are_fetched(browser: FlaskClient, issuer: Issuer, sessions: Sessions) -> None:
    sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim")})
    for algorithm in ("RS256", "PS256"):
        issuer.change_key()
        issuer.algorithm = algorithm

        assert sign_in(browser, issuer, "subject-1").status_code == HTTPStatus.SEE_OTHER
    assert issuer.asked.count("/keys") == 3  # the third key has the name of the second one


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "changed", [{"state": "another"}, {"state": ""}, {"iss": "http://other.example"}, {"code": "another"}], ids=str
)
def test_an_answer_to_another_sign_in_signs_nobody_in(
    browser: FlaskClient, issuer: Issuer, sessions: Sessions, changed: dict[str, str]
) -> None:
    arguments = issuer.sign_in(begin(browser, invitation=invite(sessions, "kim")), "subject-1")
    refused = come_back(browser, {**arguments, **changed})
    without_cookie = come_back(browser.application.test_client(use_cookies=True), arguments)

    assert (refused.status_code, without_cookie.status_code) == (HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST)
    assert browser.get_cookie(COOKIE) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_answer_works_once(browser: FlaskClient, issuer: Issuer, sessions: Sessions) -> None:
    arguments = issuer.sign_in(begin(browser, invitation=invite(sessions, "kim")), "subject-1")
    first = come_back(browser, arguments)
    back_button = come_back(browser, arguments)
    browser.delete("/api/v1/sessions/current", headers={"Sec-Fetch-Site": "same-origin"})
    replayed = come_back(browser, arguments)

    assert (first.status_code, back_button.status_code) == (HTTPStatus.SEE_OTHER, HTTPStatus.SEE_OTHER)
    assert replayed.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example/ui/", "/\\evil.example", "/ui/\r\nX: y", "/api/v1/me", "ui/"]
)
def test_nobody_is_led_to_another_site(browser: FlaskClient, issuer: Issuer, sessions: Sessions, place: str) -> None:
    back = sign_in(browser, issuer, "subject-1", {"invitation": invite(sessions, "kim"), "next": place})

    assert back.headers["Location"] == "/ui/"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_provider_says_why_it_refuses(browser: FlaskClient, issuer: Issuer) -> None:
    arguments = issuer.sign_in(begin(browser), "subject-1")
    del arguments["code"]
    refused = come_back(
        browser, {**arguments, "error": "access_denied", "error_description": "<script>alert(1)</script>"}
    )

    assert refused.status_code == HTTPStatus.BAD_REQUEST
    assert "&lt;script&gt;" in refused.text
    assert "<script>alert" not in refused.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://other.example"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"token_endpoint": None},
        {"authorization_endpoint": 7},
    ],
    ids=str,
)
def test_a_provider_that_is_none_is_named(browser: FlaskClient, issuer: Issuer, metadata: dict[str, Any]) -> None:
    issuer.metadata = metadata

    answer = assert_problem(browser.post(BEGIN, json={}), 502, "identity-provider-unavailable")

    assert "School account" in answer["detail"]


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a": "' + b"x" * 2**21, b"[]", b"<html>", b"", b'{"expires_in": 1e999}'], ids=len
)
def test_a_provider_whose_answers_are_hostile(issuer: Issuer, path: str, body: bytes) -> None:
    provider = IdentityProvider(ProviderSettings(issuer.address, CLIENT_ID, None, "SSO", None))
    issuer.bodies[path] = body
    ticket = Ticket()

    with pytest.raises((IdentityProviderUnavailable, SignInFailed)):
        provider.finish(ticket, "http://localhost/", issuer.sign_in(provider.begin(ticket, "http://localhost/"), "x"))


def test_a_provider_is_not_followed_elsewhere(issuer: Issuer) -> None:
    provider = IdentityProvider(ProviderSettings(issuer.address, CLIENT_ID, None, "SSO", None))
    ticket = Ticket()
    arguments = issuer.sign_in(provider.begin(ticket, "http://localhost/"), "x")
    issuer.metadata = {"token_endpoint": f"{issuer.address}/elsewhere"}
    other = IdentityProvider(ProviderSettings(issuer.address, CLIENT_ID, None, "SSO", None))

    with pytest.raises(IdentityProviderUnavailable):
        other.finish(ticket, "http://localhost/", arguments)
    assert issuer.exchanged == []


def test_a_provider_that_is_away_is_asked_again_after_a_pause(issuer: Issuer) -> None:
    times = [0.0]
    provider = IdentityProvider(ProviderSettings(issuer.address, CLIENT_ID, None, "SSO", None), lambda: times[0])
    issuer.is_away = True
    for _ in range(3):
        with pytest.raises(IdentityProviderUnavailable, match="SSO does not answer"):
            provider.begin(Ticket(), "http://localhost/")
    asked = len(issuer.asked)
    issuer.is_away = False
    times[0] += PAUSE_SECONDS

    assert asked == 1
    assert provider.begin(Ticket(), "http://localhost/").startswith(f"{issuer.address}/authorize?")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"oidc_issuer": "http://sso.example"}, "must begin with https://"),
        ({"oidc_issuer": "sso.example"}, "must begin with https://"),
        ({"oidc_client_id": None}, "TRAINYARD_OIDC_CLIENT_ID"),
        ({"auth": "off"}, "TRAINYARD_AUTH=keys"),
        ({"oidc_client_secret_file": "/nonexistent"}, "TRAINYARD_OIDC_CLIENT_SECRET_FILE"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    right = {"auth": "keys", "oidc_issuer": "https://sso.example", "oidc_client_id": "x"}
    Settings(_env_file=None, **right)  # type: ignore[arg-type]

    with pytest.raises(ValidationError, match=message):
        Settings(_env_file=None, **{**right, **changed})
