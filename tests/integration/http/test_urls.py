"""Test that strings in a URL or a form which a database cannot store are refused by every protocol."""

import io

import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/models/a%00b"),
        ("GET", "/api/v1/datasets?cursor=%00"),
        ("GET", "/v1/models/a%00b"),
        ("GET", "/v1/models/a%00b/metadata"),
        ("GET", "/v1/models/a/labels/b%00"),
        ("POST", "/v1/models/a%00b:predict"),
        ("GET", "/v2/models/a%00b"),
        ("GET", "/v2/models/a/versions/b%00"),
        ("POST", "/v2/models/a%00b/infer"),
        ("POST", "/v2/repository/models/a%00/load"),
        ("POST", "/models/a%00b"),
        ("POST", "/models/a%00b/invocations"),
    ],
)
def test_a_nul_character_in_a_url_is_refused(http: FlaskClient, method: str, path: str) -> None:
    answer = http.open(path, method=method, data=b"{}", content_type="application/json")

    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/api/v1/jobs?dryrun=true", "Did you mean 'dry_run'?"),
        ("POST", "/api/v1/models/a/predictions?version=1", "Unknown key."),
        ("DELETE", "/api/v1/models/a/versions/1?force=true", "Unknown key."),
        ("GET", "/api/v1/workers?x=1", "Unknown key."),
        ("GET", "/api/v1/jobs?limit=1&limit=2", "more than once"),
        ("GET", "/api/v1/jobs?tag=:x", "has no key"),
    ],
)
def test_a_wrong_query_is_refused(http: FlaskClient, method: str, path: str, said: str) -> None:
    answer = http.open(path, method=method, json={})

    assert answer.status_code == 422
    assert said in answer.json["errors"][0]["detail"]


def test_a_nul_character_in_a_form_is_refused_with_its_pointer(http: FlaskClient) -> None:
    form = {"name": "mine", "leave_out": ["a", "b\0"], "file": (io.BytesIO(b"a,b,y\n1,2,0\n3,4,1\n"), "a.csv")}

    answer = http.post("/api/v1/datasets", data=form)

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/leave_out/1")


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/docs", "/openapi.json", "/health/live", "/nothing"])
def test_answers_forbid_other_types_and_frames(http: FlaskClient, path: str) -> None:
    headers = http.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert (headers["X-Frame-Options"], headers["Content-Security-Policy"]) == ("DENY", "frame-ancestors 'none'")


@pytest.mark.parametrize("path", ["/api/v1/models/a/predictions", "/v1/models/a:predict", "/v2/models/a/infer"])
def test_pages_of_other_sites_cannot_use_any_protocol(http: FlaskClient, path: str) -> None:
    assert http.post(path, data=b"x", headers={"Origin": "http://evil.example"}).status_code == 403
    assert http.post(path, data=b"x", headers={"Host": "evil.example"}).status_code == 421
