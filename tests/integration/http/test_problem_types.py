"""Test that the type of every problem is a path that explains it."""

import pytest
from flask.testing import FlaskClient

from api.http.problems import STATUS
from shared import errors
from shared.errors import TrainingFailure
from tests.support.problems import assert_problem

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FAILURES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TrainingFailure)]
KINDS = sorted({error.kind for error in [*STATUS, *FAILURES] if hasattr(error, "kind")})


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_explained(http: FlaskClient, kind: str) -> None:
    explained = http.get(f"/problems/{kind}").json

    assert explained["type"] == f"/problems/{kind}"
    assert len(explained["meaning"]) > 20


def test_a_browser_gets_a_page(http: FlaskClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en"}
    page = http.get("/problems/disk-full", headers=browser, follow_redirects=True)

    assert page.content_type == "text/html; charset=utf-8"
    assert ">Disk full</h1>" in page.text
    assert "HTTP status 507" in page.text
    assert "<code>TRAINYARD_RESERVED_DISK_BYTES</code>" in page.text


def test_an_unknown_type_is_not_found(http: FlaskClient) -> None:
    answer = http.get("/problems/disk-ful")

    assert_problem(answer, 404, "file-not-found")
    assert "'disk-full'" in answer.json["detail"]
