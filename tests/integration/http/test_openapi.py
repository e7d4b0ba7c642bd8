"""Test that the OpenAPI document describes the routes, and that its pages need no internet."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.http.problems import STATUS
from shared.version import VERSION

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
UNDESCRIBED = {"/docs", "/openapi.json", "/oauth2-redirect.html", "/swagger", "/swagger/{filename}"}
FOREIGN_PROTOCOLS = {"tf_serving", "open_inference", "mlflow", "hugging_face"}
"""Blueprints of the protocols of other systems, which docs/serving.md and their own documents describe."""


def list_routes(app: Flask) -> set[tuple[str, str]]:
    """Return the path, written as in OpenAPI, and the method of each route that must be described."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] not in FOREIGN_PROTOCOLS
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_nothing_else(app: Flask, http: FlaskClient) -> None:
    paths = http.get("/openapi.json").json["paths"]

    described = {(path, method) for path, operations in paths.items() for method in operations}

    assert described == {(path, method) for path, method in list_routes(app) if path not in UNDESCRIBED}


def test_every_operation_describes_its_request_and_response(http: FlaskClient) -> None:
    document = http.get("/openapi.json").json

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            named = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path
            assert operation["summary"], path
            assert any(status.startswith("2") for status in operation["responses"]), path
            assert ("requestBody" in operation) == (
                method in ("post", "put") and not path.endswith(("/cancellation", "/reproduction", "/retry", "/stop"))
            ), path


def test_the_components_are_objects(http: FlaskClient) -> None:
    components = http.get("/openapi.json").json["components"]

    assert {kind for kind, named in components.items() if not isinstance(named, dict)} == set()


def test_every_reference_names_a_schema(http: FlaskClient) -> None:
    document = http.get("/openapi.json").json

    def find_references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [reference for entry in node for reference in find_references(entry)]
        if isinstance(node, dict):
            direct = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return direct + [reference for entry in node.values() for reference in find_references(entry)]
        return []

    missing = set()
    for reference in find_references(document["paths"]):
        name = reference.removeprefix("#/components/schemas/")
        if name not in document["components"]["schemas"]:
            missing.add(reference)
    assert missing == set()


def test_the_spec_is_described_key_by_key(http: FlaskClient) -> None:
    schema = http.get("/openapi.json").json["components"]["schemas"]["TrainingSpec"]

    assert set(schema["required"]) == {"model", "dataset", "network"}
    assert {"batch_size", "tensorboard", "precision"} <= set(str(schema).replace("'", " ").split())


def test_problems_are_described_with_their_media_type(http: FlaskClient) -> None:
    responses = http.get("/openapi.json").json["paths"]["/api/v1/jobs/{job_id}"]["get"]["responses"]

    assert "application/problem+json" in responses["404"]["content"]


def test_every_problem_is_described(http: FlaskClient) -> None:
    paths = http.get("/openapi.json").json["paths"]

    described = {
        kind
        for operations in paths.values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for kind in re.findall(r"[a-z-]+", response["description"])
    }

    assert {error.kind for error in STATUS} <= described


def test_the_documentation_needs_no_internet(http: FlaskClient) -> None:
    page = http.get("/docs").text

    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert not link.startswith(("http", "//")), link
        with http.get(f"/{link}") as file:
            assert file.status_code == 200, link


def test_readiness_lists_every_check(http: FlaskClient) -> None:
    ready = http.get("/health/ready")

    assert ready.status_code == 200
    assert set(ready.json["checks"]) == {"database", "redis", "artifacts", "disk"}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_states_the_version(http: FlaskClient, path: str) -> None:
    health = http.get(path).json

    assert health["version"] == VERSION == http.get("/openapi.json").json["info"]["version"]
