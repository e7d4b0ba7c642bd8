"""Check every answer of the API against its own OpenAPI document."""

import re
from functools import cache
from typing import Any

import jsonschema_rs
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class DescribedApi:
    """The published document, and validators of its schemas."""

    def __init__(self, document: Json) -> None:
        self.document = document
        patterns = {path: re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(path)) for path in document["paths"]}
        self._paths = [(re.compile(pattern), document["paths"][path]) for path, pattern in patterns.items()]
        self.validate_schema = cache(self._make_validator)
        self._validators: dict[int, Any] = {}  # by the id of a schema of the document

    def find_operation(self, path: str, method: str) -> Json | None:
        """Return the operation of a path and a method; None if it is not described."""
        found = (item.get(method.lower()) for pattern, item in self._paths if pattern.fullmatch(path))
        return next((operation for operation in found if operation is not None), None)

    def find_faults(self, name: str, instance: object) -> list[str]:
        """Return what is wrong with a value, by the name of a schema."""
        return [str(error) for error in self.validate_schema(name).iter_errors(instance)]

    def check(self, path: str, method: str, answer: TestResponse) -> None:
        """Check the status, the media type and the JSON of an answer."""
        operation = self.find_operation(path, method)
        if operation is None:
            return
        responses = operation["responses"]
        described = responses.get(str(answer.status_code), responses.get("default"))
        assert described is not None, (method, path, answer.status_code)
        content = described.get("content", {})
        assert not content or answer.mimetype in content or "*/*" in content, (method, path, answer.mimetype)
        for header in ("Location", "Retry-After", "Trainyard-Version"):
            assert header not in answer.headers or header in described["headers"] or "default" in responses, header
        schema = content.get(answer.mimetype, {}).get("schema")
        if schema is not None and answer.is_json and "Content-Encoding" not in answer.headers:
            if id(schema) not in self._validators:
                self._validators[id(schema)] = jsonschema_rs.validator_for(self._embed(schema))
            validator = self._validators[id(schema)]
            faults = [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(answer.json)]
            assert not faults, (method, path, answer.status_code, faults[:3])

    def _make_validator(self, name: str) -> Any:
        return jsonschema_rs.validator_for(self._embed({"$ref": f"#/components/schemas/{name}"}))

    def _embed(self, schema: Json) -> Json:
        return {"$schema": DIALECT, "allOf": [schema], "components": self.document["components"]}


_known: list[DescribedApi] = []


def describe(application: Any) -> DescribedApi:
    """Return the document of the first application: those of all are equal, and making one takes half a second."""
    if not _known:
        _known.append(DescribedApi(FlaskClient(application).get("/openapi.json").get_json()))
    return _known[0]


class DescribedClient(FlaskClient):
    """A client that checks each answer against the published document."""

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        """Send a request."""
        answer = super().open(*arguments, **options)
        if not answer.is_streamed or answer.is_json:
            describe(self.application).check(answer.request.path, answer.request.method, answer)
        return answer
