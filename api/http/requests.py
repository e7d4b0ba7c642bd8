"""Parse path, query, headers and body of a request into the pydantic models that the view declares.

flask-openapi3 reads the same annotations for the OpenAPI document. `parse_request` replaces its parsing, which accepts
only JSON, makes the schemas again for each request, and does not distinguish malformed JSON from a missing body.
"""

from collections.abc import Callable
from functools import wraps
from typing import get_type_hints

from flask import Response, request
from pydantic import BaseModel

from api.http.bodies import check_values, escape_pointer
from api.http.reading.document_reader import read_document
from api.http.validation import validate
from shared.errors import MAX_FAULTS, Fault, InvalidRequest, UnsupportedContent, suggest

DECOMPRESSING = frozenset({"tf_serving", "open_inference"})
"""Blueprints whose views decompress bodies."""
View = Callable[..., Response]


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
            arguments["path"] = validate(models["path"], path, "path")
        if "query" in models:
            arguments["query"] = validate(models["query"], request.args.to_dict(), "query")
        if "header" in models:
            arguments["header"] = validate(models["header"], _select_headers(models["header"]), "header")
        if "body" in models:
            arguments["body"] = read_document(models["body"])
        return view(**arguments)

    call.__delay_validate_request__ = True  # type: ignore[attr-defined]  # disables the parsing of flask-openapi3
    return call


def _check_query_keys(model: type[BaseModel] | None) -> None:
    """Check that the query has only keys of the model, each once: others have no effect. Raises InvalidRequest."""
    fields = model.model_fields.items() if model is not None else ()
    known = {field.alias or name for name, field in fields}
    unknown = sorted(request.args.keys() - known)[:MAX_FAULTS]
    faults = [Fault(f"#/{escape_pointer(key)}", f"Unknown key.{suggest(key, known)}", "query") for key in unknown]
    repeated = [key for key, values in request.args.lists() if len(values) > 1 and key in known]
    faults += [Fault(f"#/{key}", "The key occurs more than once. Send it once.", "query") for key in repeated]
    if faults:
        raise InvalidRequest("The request is invalid.", tuple(faults))


def check_url() -> None:
    """Check every string of the path and the query. Raises InvalidRequest for one that a database cannot store.

    It runs before each view, also before those of other systems' protocols.
    """
    path = {name: value for name, value in (request.view_args or {}).items() if isinstance(value, str)}
    check_values(path, "#", 0)
    check_values(request.args.to_dict(), "#", 0)


def check_encoding() -> None:
    """Check that the body is not compressed. Raises UnsupportedContent.

    It runs before each view, except those of protocols whose servers decompress.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity") and request.blueprint not in DECOMPRESSING:
        raise UnsupportedContent(
            f"The Content-Encoding is {encoding[:40]!r}, and this path takes bodies that are not compressed. Send the "
            "body as it is, without this header."
        )


def _select_headers(model: type[BaseModel]) -> dict[str, str]:
    """Return the headers of the request that the model declares."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    return {name: request.headers[name] for name in names if name in request.headers}
