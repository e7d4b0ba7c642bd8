"""Test users whom an authenticating proxy names."""

from collections.abc import Callable
from http import HTTPStatus

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import ValidationError
from sqlalchemy import update

from api.services import EXTENSION
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import User
from shared.database.tables.base import now
from shared.settings import Settings
from tests.integration.access.conftest import Person
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem

HEADER = "X-Forwarded-User"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Provide settings with a proxy on this machine, which is where tests come from."""
    return settings.model_copy(
        update={"auth": "proxy", "owner_header": HEADER, "trusted_proxies": frozenset({"127.0.0.1"})}
    )


def test_a_name_of_the_proxy_becomes_a_user(http: FlaskClient, admin: Person) -> None:
    for _ in range(2):
        me = http.get("/api/v1/me", headers={HEADER: "kim@lab.example"}).json
    job = http.post("/api/v1/jobs", json=DIGITS, headers={HEADER: "kim@lab.example"}).json
    events = http.get("/api/v1/audit?actor=kim@lab.example", headers=admin.headers).json["events"]

    assert (me["owner"], me["user"]["projects"], me["user"]["key_id"]) == (
        "kim@lab.example",
        {"default": "member"},
        None,
    )
    assert job["owner"] == "kim@lab.example"
    assert [(event["action"], event["via"]) for event in events] == [("user-created", "proxy")]
    forbidden = http.get("/api/v1/users", headers={HEADER: "kim@lab.example"})
    assert_problem(forbidden, 403, "not-allowed")


def test_a_header_from_elsewhere_means_nothing(http: FlaskClient, admin: Person) -> None:
    headers = {HEADER: "ada"}

    answer = http.get("/api/v1/me", headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    with_key = http.get(
        "/api/v1/me", headers={**headers, **admin.headers}, environ_overrides={"REMOTE_ADDR": "192.0.2.1"}
    )

    assert_problem(answer, 401, "not-authenticated")
    assert with_key.json["owner"] == "ada"


def test_the_name_of_a_user_of_the_proxy_is_no_key(http: FlaskClient, admin: Person) -> None:
    assert http.get("/api/v1/me", headers={HEADER: "ada"}).json["user"]["is_admin"]  # now it is in memory

    for headers in ({"Authorization": "proxy ada"}, {"X-Api-Key": "proxy ada"}, {"X-Api-Key": "key ada"}):
        assert_problem(http.get("/api/v1/users", headers=headers), 401, "not-authenticated")
    assert admin.key
    assert_problem(http.get("/api/v1/me", headers={HEADER: "kim,ada"}), 422, "invalid-request")


def test_without_a_name_nobody_is_anonymous(http: FlaskClient, admin: Person) -> None:
    assert admin.key
    assert_problem(http.get("/api/v1/me"), 401, "not-authenticated")
    assert_problem(http.get("/api/v1/me", headers={HEADER: " "}), 422, "invalid-request")


def test_a_disabled_user_of_the_proxy_has_no_access(
    http: FlaskClient, admin: Person, join: Callable[[str, Role], Person]
) -> None:
    join("kim", Role.MEMBER)
    before = http.get("/api/v1/me", headers={HEADER: "kim"}).status_code

    http.patch("/api/v1/users/kim", json={"disabled": True}, headers=admin.headers)

    assert before == HTTPStatus.OK
    assert_problem(http.get("/api/v1/me", headers={HEADER: "kim"}), 401, "not-authenticated")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auth": "proxy"}, "needs TRAINYARD_TRUSTED_PROXIES"),
        ({"auth": "proxy", "trusted_proxies": "127.0.0.1"}, "needs TRAINYARD_TRUSTED_PROXIES"),
        ({"trusted_proxies": "gpu-box"}, "is no address"),
        ({"tls_key": "key.pem"}, "belong together"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(_env_file=None, **values)  # type: ignore[arg-type]


def test_a_user_of_the_proxy_whose_access_ended_is_refused(
    http: FlaskClient, sessions: Sessions, app: Flask, admin: Person
) -> None:
    assert http.get("/api/v1/me", headers={HEADER: "kim"}).status_code == HTTPStatus.OK
    with sessions.begin() as session:
        session.execute(update(User).where(User.login == "kim").values(expires_at=now(-1)))
    app.extensions[EXTENSION].gate.forget()

    assert_problem(http.get("/api/v1/me", headers={HEADER: "kim"}), 401, "key-expired")
    assert admin.key
