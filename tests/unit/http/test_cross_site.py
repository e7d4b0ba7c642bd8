"""Test which hosts and which pages of other sites may use the API."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import Client, TestResponse

from api.http.wsgi.cross_site import Sites, check_sites

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOCAL = Sites("127.0.0.1")
EVERYWHERE = Sites("0.0.0.0")
OWN_HOST = "127.0.0.1:8000"
LAB = "https://lab.example"


def serve(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]


def ask(sites: Sites, method: str = "POST", **headers: str) -> TestResponse:
    names = {"Host": OWN_HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Client(check_sites(serve, sites)).open("/api/v1/jobs", method=method, headers=names)


def read_problem(answer: TestResponse) -> dict[str, str]:
    problem: dict[str, str] = json.loads(answer.data)
    return problem


@pytest.mark.parametrize(
    ("sites", "host"),
    [
        (LOCAL, "127.0.0.1:8000"),
        (LOCAL, "127.0.0.1"),
        (LOCAL, "127.0.0.2:8000"),
        (LOCAL, "localhost:8000"),
        (LOCAL, "LOCALHOST:8000"),
        (LOCAL, "trainyard.localhost:8000"),
        (LOCAL, "[::1]:8000"),
        (Sites("10.1.2.3"), "10.1.2.3:8000"),
        (EVERYWHERE, "10.1.2.3:8000"),
        (EVERYWHERE, "[fd00::7]:8000"),
        (LOCAL, "gpu-box:8000"),
        (EVERYWHERE, "api:8000"),
        (Sites("127.0.0.1", frozenset({"box.lab.example"})), "box.lab.example:8000"),
        (Sites("box.lab.example"), "box.lab.example:8000"),
        (Sites("127.0.0.1", frozenset({"*"})), "evil.example"),
    ],
)
def test_own_hosts_are_answered(sites: Sites, host: str) -> None:
    assert ask(sites, Host=host).status_code == 200


@pytest.mark.parametrize(
    ("sites", "host"),
    [
        (LOCAL, "evil.example"),
        (LOCAL, "evil.example:8000"),
        (LOCAL, "127.0.0.1.evil.example"),
        (LOCAL, "localhost.evil.example"),
        (LOCAL, "10.1.2.3:8000"),
        (LOCAL, "127.0.0.1@evil.example"),
        (LOCAL, "127.0.0.1:8000, evil.example"),
        (LOCAL, "127.0.0.1:"),
        (LOCAL, "[::1"),
        (EVERYWHERE, "evil.example"),
        (Sites("127.0.0.1", frozenset({"gpu-box"})), "gpu-box.evil.example"),
        (LOCAL, "2130706433.example"),
    ],
)
def test_foreign_hosts_are_refused_with_the_remedy(sites: Sites, host: str) -> None:
    for _ in range(2):
        answer = ask(sites, Host=host)

        assert (answer.status_code, read_problem(answer)["type"]) == (421, "/problems/host-not-allowed")
        assert "TRAINYARD_HOSTS" in read_problem(answer)["detail"]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),  # a program
        ("POST", {"Origin": f"http://{OWN_HOST}"}),
        ("POST", {"Sec_Fetch_Site": "same-origin", "Origin": f"http://{OWN_HOST}"}),
        ("GET", {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}),
        ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}),
    ],
)
def test_programs_own_pages_and_links_are_answered(method: str, headers: dict[str, str]) -> None:
    answer = ask(LOCAL, method, **headers)

    assert (answer.status_code, "Access-Control-Allow-Origin" in answer.headers) == (200, False)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"Origin": "http://evil.example"}),
        ("GET", {"Origin": "http://evil.example"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": "http://127.0.0.1:9000"}),
        ("POST", {"Origin": "http://127.0.0.1:8000.evil.example"}),
        ("POST", {"Sec_Fetch_Site": "cross-site"}),
        ("POST", {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:9000"}),
        ("POST", {"Sec_Fetch_Site": "cross-site", "Origin": f"http://{OWN_HOST}"}),
        ("POST", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}),
        ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}),
        ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}),
        ("OPTIONS", {"Origin": "http://evil.example", "Access_Control_Request_Method": "DELETE"}),
    ],
)
def test_requests_of_other_sites_are_refused(method: str, headers: dict[str, str]) -> None:
    answer = ask(LOCAL, method, **headers)

    assert (answer.status_code, read_problem(answer)["type"]) == (403, "/problems/origin-not-allowed")
    assert "TRAINYARD_ALLOWED_ORIGINS" in read_problem(answer)["detail"]
    assert answer.headers["X-Request-ID"]


def test_pages_of_an_allowed_origin_can_read_and_post() -> None:
    sites = Sites("127.0.0.1", origins=frozenset({LAB}))

    answer = ask(sites, Origin=LAB, Sec_Fetch_Site="cross-site")
    preflight = ask(
        sites,
        "OPTIONS",
        Origin=LAB,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type, idempotency-key",
    )

    assert (answer.data, answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (
        b"answered",
        LAB,
        "Origin",
    )
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type, idempotency-key"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert ask(sites, Origin="http://evil.example").status_code == 403
