"""Test what holds for answers of every kind: compression and ETags; who the caller is; and the recipes."""

import gzip
import json

import pytest
from flask.testing import FlaskClient

from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_a_text_is_compressed_for_a_client_that_accepts_it(http: FlaskClient) -> None:
    plain, packed = http.get("/api/v1/recipes"), http.get("/api/v1/recipes", headers=GZIP)

    assert (packed.headers["Content-Encoding"], "Content-Encoding" in plain.headers) == ("gzip", False)
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 3
    assert http.get("/api/v1/recipes", headers={"Accept-Encoding": "gzip;q=0"}).data == plain.data


@pytest.mark.parametrize("path", ["/health/live", "/api/v1/catalog/nothing"])
def test_a_short_answer_is_not_compressed(http: FlaskClient, path: str) -> None:
    assert "Content-Encoding" not in http.get(path, headers=GZIP).headers


def test_answers_to_writes_and_streams_are_not_compressed(http: FlaskClient) -> None:
    job = json.loads(http.post("/api/v1/jobs", json=DIGITS, headers=GZIP).data)
    http.post(f"/api/v1/jobs/{job['id']}/cancellation")

    events = http.get(f"/api/v1/jobs/{job['id']}/events", headers=GZIP)

    assert "Content-Encoding" not in events.headers
    assert events.text.startswith("id: 1")


@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize("path", ["/openapi.json", "/api/v1/catalog"])
def test_a_large_document_is_sent_once(http: FlaskClient, path: str, headers: dict[str, str]) -> None:
    first = http.get(path, headers=headers)

    again = http.get(path, headers={**headers, "If-None-Match": first.headers["ETag"]})

    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")
    assert first.headers["ETag"].startswith("W/") == bool(headers)


def test_the_caller_is_told_its_name_and_its_limits(http: FlaskClient) -> None:
    me = http.get("/api/v1/me").json

    assert (me["owner"], me["limits"]["request_bytes"], me["limits"]["image_pixels"]) == (
        "anonymous",
        4 * 2**20,
        1_000_000,
    )


def test_the_recipes_are_specs_with_their_results(http: FlaskClient) -> None:
    recipes = {recipe["name"]: recipe for recipe in http.get("/api/v1/recipes").json["recipes"]}

    digits, thoracic = http.get("/api/v1/recipes/digits-cnn").json, recipes["thoracic"]

    assert (digits["dataset"], digits["upload"], digits["result"]["parameters"]) == ("digits", None, 114_058)
    assert thoracic["upload"] == {"name": ["thoracic"], "file": ["ThoraricSurgery.csv"]}
    assert recipes["and"]["dataset"] is None
    assert digits["title"].startswith("scikit-learn's 1,797 handwritten digits")
    TrainingSpec.model_validate(digits["spec"])
    sent = http.post("/api/v1/jobs?dry_run=true", data=digits["text"], content_type="application/yaml")
    assert sent.json["parameters"] == 114_058
    assert_problem(http.get("/api/v1/recipes/digit-cnn"), 404, "file-not-found")
