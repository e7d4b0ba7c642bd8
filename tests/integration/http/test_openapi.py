"""Test that the OpenAPI document describes the routes, and that its pages need no internet."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from ruamel.yaml import YAML

from api.http.problems import STATUS
from shared.version import VERSION
from tests.support.described import describe
from tests.support.examples import DIGITS, Json

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
UNDESCRIBED = {"/docs", "/openapi.json", "/oauth2-redirect.html", "/swagger", "/swagger/{filename}"}
FOREIGN_PROTOCOLS = {"tf_serving", "open_inference", "mlflow", "hugging_face"}
"""Blueprints of the protocols of other systems, which docs/serving.md and their own documents describe."""
PAGES = "web"
"""The blueprint of the pages, which are no API."""


def list_routes(app: Flask) -> set[tuple[str, str]]:
    """Return the path, written as in OpenAPI, and the method of each route that must be described."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] not in {*FOREIGN_PROTOCOLS, PAGES}
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


OWN_PATHS = ("/api/", "/health/", "/metrics", "/problems/")


def test_every_route_is_described_and_nothing_else(app: Flask, http: FlaskClient) -> None:
    paths = http.get("/openapi.json").json["paths"]

    described = {(path, method) for path, operations in paths.items() for method in operations}

    own = {(path, method) for path, method in described if path.startswith(OWN_PATHS)}
    assert own == {(path, method) for path, method in list_routes(app) if path not in UNDESCRIBED}


def test_every_path_of_another_system_is_one_of_its_routes(app: Flask, http: FlaskClient) -> None:
    routes = app.url_map.bind("localhost")
    for path, operations in http.get("/openapi.json").json["paths"].items():
        for method in operations:
            if not path.startswith(OWN_PATHS):
                endpoint, _ = routes.match(path.replace("{", "").replace("}", ""), method.upper())
                assert endpoint.partition(".")[0] in FOREIGN_PROTOCOLS


def test_every_operation_describes_its_request_and_response(http: FlaskClient) -> None:
    document = http.get("/openapi.json").json

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            named = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path
            assert operation["summary"], path
            assert any(status.startswith("2") for status in operation["responses"]), path
            without = (
                "/archive",
                "/baselines",
                "/cancellation",
                "/publication",
                "/reproduction",
                "/reset",
                "/retry",
                "/stop",
                "load",
            )
            takes_body = method in ("post", "put", "patch") and not path.endswith(without)
            assert ("requestBody" in operation) == takes_body, path


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
        _, _, kind, name = reference.split("/")
        if name not in document["components"][kind]:
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
    of_pages = {"identity-taken"}  # what a browser meets that comes back from an OpenID provider
    paths = http.get("/openapi.json").json["paths"]

    described = {
        kind
        for operations in paths.values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for kind in re.findall(r"[a-z-]+", response["description"])
    }

    assert {error.kind for error in STATUS} - of_pages <= described


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


RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_by_the_published_schema(app: Flask, path: Path) -> None:
    recipe = YAML(typ="safe").load(path.read_text())

    assert describe(app).find_faults("TrainingSpec", recipe) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**DIGITS, "training": {"optimizer": "adam", "loss": "mse", "metrics": ["mse", {"name": "AUC"}]}}, None),
        ({**DIGITS, "network": {"keras": "{}"}}, None),
        ({**DIGITS, "dataset": {"name": "digits", "validation": "test"}}, None),
        ({**DIGITS, "traning": {}}, "traning"),
        ({**DIGITS, "tags": {"a b": "c"}}, "a b"),
        ({**DIGITS, "training": {"epochs": 0.5}}, "0.5"),
    ],
)
def test_the_schema_accepts_and_refuses_what_the_api_does(
    app: Flask, http: FlaskClient, spec: Json, words: str | None
) -> None:
    faults = describe(app).find_faults("TrainingSpec", spec)

    assert bool(faults) == (words is not None)
    if words is not None:
        assert words in " ".join(faults)
        assert http.post("/api/v1/jobs?dry_run=true", json=spec).status_code == 422


def test_operations_are_named_as_their_views_are(http: FlaskClient) -> None:
    operations = [operation for item in http.get("/openapi.json").json["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]

    assert len(names) == len(set(names))
    assert {"submit_job", "show_job", "predict_with_model", "upload_dataset", "tf_predict", "oip_infer"} <= set(names)


def test_problem_types_examples_and_patterns_are_published(http: FlaskClient) -> None:
    schemas = http.get("/openapi.json").json["components"]["schemas"]

    assert {"about:blank", "/problems/job-not-found"} <= set(schemas["Problem"]["properties"]["type"]["enum"])
    assert "/problems/out-of-memory" in schemas["JobProblem"]["properties"]["type"]["enum"]
    assert schemas["DatasetSpec"]["properties"]["name"]["examples"] == ["mnist"]
    assert "propertyNames" in schemas["TrainingSpec"]["properties"]["tags"]
    assert not {name for name in schemas if name in ("Best", "Check", "Entry", "Argument", "Order", "Test")}


def test_the_first_job_of_the_documentation_can_be_queued(http: FlaskClient) -> None:
    body = http.get("/openapi.json").json["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]

    answer = http.post("/api/v1/jobs", json=body["application/json"]["example"])

    assert answer.status_code == 202


@pytest.mark.parametrize("query", ["limit=0", "x=1", "tag=:a"])
def test_a_fault_names_the_part_of_the_request(http: FlaskClient, query: str) -> None:
    (found,) = http.get(f"/api/v1/jobs?{query}").json["errors"]
    body = http.post("/api/v1/jobs", json={**DIGITS, "limit": 0}).json["errors"][0]

    assert (found["in"], body["in"]) == ("query", "body")


def test_generators_find_a_name_for_every_inline_enum(http: FlaskClient) -> None:
    """Generators call the enum of a property by both names: `ProblemType` for `type` of `Problem`."""
    schemas = http.get("/openapi.json").json["components"]["schemas"]
    named = {
        name + "".join(map(str.capitalize, key.split("_")))
        for name, schema in schemas.items()
        for key, value in schema.get("properties", {}).items()
        if "enum" in value
    }

    assert "ProblemType" in named
    assert named.isdisjoint(schemas)


def test_generated_clients_lose_no_part_of_a_request(http: FlaskClient) -> None:
    """Generators drop what only `patternProperties` allows, and take a constant for any value if it comes first."""
    for schema in iterate_schemas(http.get("/openapi.json").json["components"]["schemas"]):
        assert "patternProperties" not in schema
        choices = schema.get("anyOf") or schema.get("oneOf") or []
        constants = ["const" in choice or "enum" in choice for choice in choices if choice != {"type": "null"}]
        assert constants == sorted(constants), choices


def iterate_schemas(part: Any) -> Iterator[Json]:
    """Yield each object inside of a document."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from iterate_schemas(inner)


def test_what_needs_a_key_is_described(http: FlaskClient) -> None:
    document = http.get("/openapi.json").json
    paths = document["paths"]

    assert document["security"] == [{"bearer": []}, {"header": []}, {"basic": []}]
    for path, method, is_open in (
        ("/health/live", "get", True),
        ("/api/v1/invitations/acceptance", "post", True),
        ("/v2/health/ready", "get", True),
        ("/api/v1/jobs/{job_id}", "get", False),
        ("/api/v1/models/{model}/predictions", "post", False),
        ("/v2/models/{model}/infer", "post", False),
    ):
        assert (paths[path][method].get("security") == []) == is_open, path
