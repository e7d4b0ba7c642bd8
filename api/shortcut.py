"""The shortest way for the one request that comes by the thousand: an image in the body, for a version in memory.

Before Flask and all that stands before it, which for a small network would take twice as long as the rest. Whatever
is not as usual, errors included, goes on to them as if nothing had been tried.
"""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from api.request_ids import REQUEST_ID, request_id_of
from api.services import Services
from api.serving.predict import VERSION_HEADER, predictions_document
from shared.preprocessing import MEDIA_TYPES
from shared.serving.inputs import ImageInput
from shared.serving.version import LoadedVersion

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_TYPES = frozenset({*MEDIA_TYPES.values(), "application/octet-stream"})
_BEFORE, _AFTER = "/api/v1/models/", "/predictions"


def with_shortcut(application: "WSGIApplication", services: Services) -> "WSGIApplication":
    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        loaded = _version_asked(environ, services)
        if loaded is None:
            return application(environ, start_response)
        image = b""
        try:
            image = services.readers.read(environ["wsgi.input"].read, int(environ["CONTENT_LENGTH"]))
            outputs = services.predictor.outputs(loaded, [ImageInput("the image", image, environ["CONTENT_TYPE"])])
        except Exception:  # noqa: BLE001 - whatever it is, Flask meets it again and says it
            if image:
                environ["wsgi.input"] = io.BytesIO(image)
            return application(environ, start_response)
        services.metrics.count("predictions", loaded.model, str(loaded.number))
        body = predictions_document(loaded, outputs, top=1)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            (VERSION_HEADER, loaded.name),
            (REQUEST_ID, request_id_of(environ)),
        ]
        start_response("200 OK", headers)
        return [body]

    return call


def _version_asked(environ: "WSGIEnvironment", services: Services) -> LoadedVersion | None:
    """None for any other request."""
    if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING") or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    path = environ["PATH_INFO"]
    if not (path.startswith(_BEFORE) and path.endswith(_AFTER)) or environ.get("CONTENT_TYPE") not in _TYPES:
        return None
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isdecimal() and 0 < int(length) <= services.image_limits.max_bytes):
        return None
    match path[len(_BEFORE) : -len(_AFTER)].split("/"):
        case [model]:
            return services.versions.find_at_hand(model, None)
        case [model, "versions", reference]:
            return services.versions.find_at_hand(model, reference)
        case _:
            return None
