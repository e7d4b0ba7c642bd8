"""The shortest way for the requests that come by the thousand: an image or JSON to predict on, by a version in memory.

Before Flask and all that stands before it, which for a small network would take twice as long as the rest. Whatever
is not as usual goes on to them, with what it came to, if it came to anything.
"""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from api.prediction_requests import inputs_of
from api.request_ids import REQUEST_ID, request_id_of
from api.requests import JSON_TYPES
from api.services import Services
from api.serving.predict import ATTEMPT, VERSION_HEADER, Attempt, predictions_document
from shared.errors import ServiceError
from shared.preprocessing import MEDIA_TYPES
from shared.serving.inputs import ANY_BYTES
from shared.serving.version import LoadedVersion

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_TYPES = frozenset({*MEDIA_TYPES.values(), *ANY_BYTES, *JSON_TYPES})
_BEFORE, _AFTER = "/api/v1/models/", "/predictions"
_TOP = "top="
_MOST_DIGITS = 3


class _Question(NamedTuple):
    loaded: LoadedVersion
    media_type: str
    size: int
    top: int


def with_shortcut(application: "WSGIApplication", services: Services, most_bytes: int) -> "WSGIApplication":
    """`most_bytes` may a body of JSON have."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        question = _question(environ, services, most_bytes)
        if question is None:
            return application(environ, start_response)
        loaded, body = question.loaded, b""
        try:
            body = services.readers.read(environ["wsgi.input"].read, question.size)
            outputs = services.predictor.outputs(loaded, inputs_of(body, question.media_type))
        except ServiceError as error:
            return application(_with_attempt(environ, Attempt(loaded, error), body), start_response)
        except Exception:  # noqa: BLE001 - whatever it is, Flask meets it again and says it
            if body:
                environ["wsgi.input"] = io.BytesIO(body)
            return application(environ, start_response)
        if any(isinstance(found, ServiceError) for found in outputs.read):
            return application(_with_attempt(environ, Attempt(loaded, outputs), body), start_response)
        services.metrics.count("predictions", loaded.model, str(loaded.number))
        answer = predictions_document(loaded, outputs, question.top)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer))),
            (VERSION_HEADER, loaded.name),
            (REQUEST_ID, request_id_of(environ)),
        ]
        start_response("200 OK", headers)
        return [answer]

    return call


def _with_attempt(environ: "WSGIEnvironment", attempt: Attempt, body: bytes) -> "WSGIEnvironment":
    """`body` is what was read."""
    environ[ATTEMPT] = attempt
    if body:
        environ["CONTENT_LENGTH"] = "0"  # of what is left
    return environ


def _question(environ: "WSGIEnvironment", services: Services, most_bytes: int) -> _Question | None:
    """None for any other request."""
    if environ["REQUEST_METHOD"] != "POST" or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    path = environ["PATH_INFO"]
    media_type = environ.get("CONTENT_TYPE", "")
    if not (path.startswith(_BEFORE) and path.endswith(_AFTER)) or media_type not in _TYPES:
        return None
    length = environ.get("CONTENT_LENGTH") or ""
    most = most_bytes if media_type in JSON_TYPES else services.image_limits.max_bytes
    if not (length.isdecimal() and 0 < int(length) <= most):
        return None
    top = _top(environ.get("QUERY_STRING", ""))
    loaded = _version(path, services)
    return _Question(loaded, media_type, int(length), top) if top and loaded is not None else None


def _top(query: str) -> int:
    """0 for any other query."""
    if not query:
        return 1
    number = query.removeprefix(_TOP)
    return int(number) if query.startswith(_TOP) and number.isdecimal() and len(number) <= _MOST_DIGITS else 0


def _version(path: str, services: Services) -> LoadedVersion | None:
    match path[len(_BEFORE) : -len(_AFTER)].split("/"):
        case [model]:
            return services.versions.find_at_hand(model, None)
        case [model, "versions", reference]:
            return services.versions.find_at_hand(model, reference)
        case _:
            return None
