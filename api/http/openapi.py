"""Complete the OpenAPI document: schemas as pydantic writes them, headers, problem types and other systems' paths.

flask-openapi3 collects the paths. Its classes of schemas know no examples, patterns or conditions, so that the schemas
are taken from pydantic again.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http.problems import MEDIA_TYPE, STATUS
from api.http.responses import PROBLEM_SCHEMA
from shared.errors import TrainingFailure, TrainyardError

Json = dict[str, Any]
REFERENCE = "#/components/schemas/"
METHODS = frozenset({"get", "post", "put", "delete", "patch"})
TRANSIENT = ("429", "503")
HEADERS: dict[str, str] = {
    "Content-Disposition": "The name of a downloaded file.",
    "ETag": "The version of the content. Send it as `If-None-Match` to get status 304 if it has not changed.",
    "Location": "The path of what was created.",
    "Retry-After": "The seconds after which the same request can succeed.",
    "Trainyard-Input": "What the numbers of images were: `pixels`, or the input of the `network`.",
    "Trainyard-Version": "The version that predicted, as `model/number`, or `model/job` for a candidate.",
    "X-Request-ID": "The id of the request, as the log has it. A request can bring its own.",
}
SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, where people sign in: docs/access.md."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same key."},
    "basic": {"type": "http", "scheme": "basic", "description": "The same key as the password, with any user name."},
}
EVENT_SCHEMAS: Json = {
    "status": {"$ref": f"{REFERENCE}JobStatus"},
    "progress": {"anyOf": [{"$ref": f"{REFERENCE}{name}"} for name in ("TrainingProgress", "BatchProgress")]},
    "epoch": {"$ref": f"{REFERENCE}EpochDocument"},
    "log": {"type": "string"},
}
FIRST_JOB: Json = {
    "model": "my-first-model",
    "dataset": {"name": "iris", "validation": {"split": 0.2}},
    "preprocessing": {"scale": "standardize"},
    "network": {
        "layers": [
            {"layer": "Dense", "units": 16, "activation": "relu"},
            {"layer": "Dense", "units": 3, "activation": "softmax"},
        ]
    },
    "training": {"epochs": 20, "batch_size": 16, "optimizer": {"name": "Adam", "learning_rate": 0.02}},
}
"""A spec that can be queued as it is: its data set needs no download."""


def complete_document(
    document: Json, views: Mapping[tuple[str, str], str], further_models: tuple[type[BaseModel], ...], paths: Json
) -> Json:
    """Complete the document that flask-openapi3 has made. Changes and returns it.

    Args:
        views: the name of the view by path and method, which becomes the id of the operation.
        further_models: models that no path names, but whose schemas others refer to.
        paths: further paths, those of other systems.
    """
    document["servers"] = [{"url": "/"}]
    for (path, method), view in views.items():
        if method in document["paths"].get(path, {}):
            document["paths"][path][method]["operationId"] = view
    document["paths"].update(paths)
    collected = document["components"]["schemas"]
    names = set(_iterate_references(document["paths"])) | set(collected)
    document["components"]["schemas"] = collected | _make_schemas(names, further_models)
    document["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                _complete_operation(path, method, operation)
    _complete_jobs(document)
    _use_integers(document)
    return document


def describe_keys(document: Json, is_open: Callable[[str, str], bool]) -> Json:
    """Describe how a key is sent, and which operations need none. Changes and returns the document.

    `is_open` takes the path and the method of an operation.
    """
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS and is_open(path, method):
                operation["security"] = []
    return document


def list_views(app: Flask) -> dict[tuple[str, str], str]:
    """Return the name of the view of each path, written as in OpenAPI, and each method in lower case."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower()): rule.endpoint.rpartition(".")[2]
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }


def _make_schemas(names: set[str], further: tuple[type[BaseModel], ...]) -> Json:
    """Return the schemas of all models with these names, and of those that they refer to."""
    known = {model.__name__: model for model in _iterate_models(BaseModel)}
    models = [known[name] for name in sorted(names) if name in known]
    _, written = models_json_schema(
        [(model, "validation") for model in dict.fromkeys([*models, *further])], ref_template=REFERENCE + "{model}"
    )
    schemas: Json = written["$defs"]
    kinds = sorted(error.kind for error in STATUS)
    schemas["Problem"]["properties"]["type"]["enum"] = ["about:blank", *(f"/problems/{kind}" for kind in kinds)]
    failures = sorted(f"/problems/{error.kind}" for error in _iterate_errors(TrainingFailure))
    schemas["JobProblem"]["properties"]["type"]["enum"] = failures
    return schemas


def _iterate_models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith(("api.", "shared.")):
            yield model
        yield from _iterate_models(model)


def _iterate_errors(base: type[TrainyardError]) -> Iterator[type[TrainyardError]]:
    for error in base.__subclasses__():
        yield error
        yield from _iterate_errors(error)


def _iterate_references(node: object) -> Iterator[str]:
    """Yield the names of the schemas that a part of the document refers to."""
    if isinstance(node, list):
        for entry in node:
            yield from _iterate_references(entry)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix(REFERENCE)
        for entry in node.values():
            yield from _iterate_references(entry)


def _complete_operation(path: str, method: str, operation: Json) -> None:
    """Describe the headers of the responses, 304 where it can be, and all other problems."""
    responses = operation["responses"]
    for status, response in responses.items():
        named = ["X-Request-ID"]
        media = " ".join(response.get("content", {}))
        if status in TRANSIENT:
            named.append("Retry-After")
        if status in ("201", "202") and method == "post":
            named.append("Location")
        if status == "200" and method == "get" and ("image/" in media or "octet-stream" in media or "zip" in media):
            named += ["ETag", "Content-Disposition"] if "image/" not in media else ["ETag"]
        if status == "200" and path.endswith("predictions"):
            named += ["Trainyard-Version", "Trainyard-Input"]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in named}
    if "ETag" in responses.get("200", {}).get("headers", {}):
        responses["304"] = {"description": "Not changed since the ETag in `If-None-Match`."}
        if "Content-Disposition" in responses["200"]["headers"]:
            responses["206"] = {**responses["200"], "description": "The part that `Range` asks for."}
    responses.setdefault(
        "default",
        {"description": "Any other problem.", "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}},
    )


def _complete_jobs(document: Json) -> None:
    paths, schemas = document["paths"], document["components"]["schemas"]
    submit = paths["/api/v1/jobs"]["post"]
    submit["responses"]["200"] = {
        **submit["responses"]["200"],
        "description": "The plan with `dry_run`, or the earlier job with `reuse`.",
        "content": {
            "application/json": {
                "schema": {"anyOf": [{"$ref": f"{REFERENCE}Plan"}, {"$ref": f"{REFERENCE}JobDocument"}]}
            }
        },
    }
    for content in submit["requestBody"]["content"].values():
        content["example"] = FIRST_JOB
    paths["/api/v1/jobs/{job_id}/events"]["get"]["x-event-schemas"] = EVENT_SCHEMAS
    schemas["JobDocument"]["properties"]["spec"] = {
        "anyOf": [
            {"$ref": f"{REFERENCE}{name}"}
            for name in ("TrainingSpec", "BatchSpec", "ExportSpec", "BaselineSpec", "ImportSpec", "EvaluationSpec")
        ],
        "description": schemas["JobDocument"]["properties"]["spec"]["description"],
    }


def _use_integers(node: Any) -> None:  # noqa: ANN401 - JSON
    """Replace limits such as 1.0 by integers, in place: generators make floats of them."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, float) and value.is_integer() and key in ("minimum", "maximum", "exclusiveMinimum"):
            node[key] = int(value)
        elif isinstance(value, dict | list):
            _use_integers(value)
