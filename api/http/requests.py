"""Parse path, query, headers and body of a request into the pydantic models that the view declares.

flask-openapi3 reads the same annotations for the OpenAPI document. `parse_request` replaces its parsing, which accepts
only JSON, makes the schemas again for each request, and does not distinguish malformed JSON from a missing body.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, get_type_hints

from flask import Response, request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.http.bodies import check_values, escape_pointer, read_document
from shared.errors import Fault, InvalidRequest, suggest

MAX_FAULTS = 50
MAX_SHOWN = 100
"""The most characters of a value in a message."""

View = Callable[..., Response]


Parsed = TypeVar("Parsed", bound=BaseModel)


def parse_request(view: View) -> View:
    """Wrap a view: call it with its `path`, `query`, `header` and `body`, each as the model that the view declares.

    The wrapped view raises InvalidRequest for invalid values, and the errors of `read_document` for the body.
    """
    models = get_type_hints(view)

    @wraps(view)
    def call(**path: object) -> Response:
        arguments: dict[str, BaseModel] = {}
        _check_query_keys(models.get("query"))
        if "path" in models:
            arguments["path"] = validate(models["path"], path)
        if "query" in models:
            arguments["query"] = validate(models["query"], request.args.to_dict())
        if "header" in models:
            arguments["header"] = validate(models["header"], _select_headers(models["header"]))
        if "body" in models:
            arguments["body"] = validate(models["body"], read_document())
        return view(**arguments)

    call.__delay_validate_request__ = True  # type: ignore[attr-defined]  # disables the parsing of flask-openapi3
    return call


def _check_query_keys(model: type[BaseModel] | None) -> None:
    """Check that the query has only keys of the model. Raises InvalidRequest: a misspelt key would have no effect."""
    fields = model.model_fields.items() if model is not None else ()
    known = {field.alias or name for name, field in fields}
    faults = [
        Fault(f"#/{escape_pointer(key)}", f"Unknown key.{suggest(key, known)}") for key in request.args.keys() - known
    ]
    if faults:
        raise InvalidRequest("The request is invalid.", tuple(faults[:MAX_FAULTS]))


def check_url() -> None:
    """Check every string of the path and the query. Raises InvalidRequest for one that a database cannot store.

    It runs before each view, also before those of other systems' protocols.
    """
    path = {name: value for name, value in (request.view_args or {}).items() if isinstance(value, str)}
    check_values(path, "#", 0)
    check_values(request.args.to_dict(), "#", 0)


def validate(model: type[Parsed], document: object) -> Parsed:
    """Validate a document. Raises InvalidRequest with all faults and their places, up to MAX_FAULTS."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = _collect_faults(error.errors(include_url=False), document, model)
        raise InvalidRequest("The request is invalid.", tuple(faults[:MAX_FAULTS])) from None


def _select_headers(model: type[BaseModel]) -> dict[str, str]:
    """Return the headers of the request that the model declares."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    return {name: request.headers[name] for name in names if name in request.headers}


def _collect_faults(errors: list[ErrorDetails], document: object, model: type[BaseModel]) -> list[Fault]:
    """Return one fault for each place. For a union, pydantic reports an error for each member; they are joined."""
    details: dict[str, list[str]] = {}
    for error in errors:
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = f"Unknown key.{suggest(str(error['loc'][-1]), _find_keys(model))}"
        if error["type"] == "string_pattern_mismatch":
            message = f"{str(error['input'])[:MAX_SHOWN]!r} does not match the pattern {error['ctx']['pattern']}"
        details.setdefault(_build_pointer(error["loc"], document), []).append(message)
    return [Fault(pointer, "; or ".join(dict.fromkeys(messages))) for pointer, messages in details.items()]


@lru_cache
def _find_keys(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of the model and of all models inside of it."""
    schema = model.model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(key for part in parts for key in part.get("properties", {}))


def _build_pointer(location: tuple[int | str, ...], document: object) -> str:
    """Convert a location of pydantic to a JSON Pointer into the document.

    A location also contains the names of the union members that pydantic tried. They are omitted, because they are not
    keys of the document.
    """
    pointer = "#"
    current: Any = document
    for index, part in enumerate(location):
        inside = (isinstance(current, dict) and part in current) or (
            isinstance(current, list) and isinstance(part, int) and part < len(current)
        )
        if inside:
            current = current[part]
        elif not (isinstance(current, dict) and index == len(location) - 1 and part != "[key]"):
            continue
        pointer += f"/{escape_pointer(str(part))}"
    return pointer
