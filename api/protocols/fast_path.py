"""The shortest way for what comes by the thousand: a request for predictions, by a version in memory.

Before Flask and all that stands before it, which for a small network would take twice as long as the rest. Whatever
is not as usual goes on to them, with what it came to, if it came to anything.
"""

import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from api.http.request_ids import REQUEST_ID_HEADER, get_request_id
from api.protocols import mlflow, open_inference, rest, tf_serving
from api.protocols.call import ATTEMPT, VERSION_HEADER, Asked, Attempt, Reply
from api.services import Services
from shared.errors import ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LANGUAGES: dict[str, "Callable[[WSGIEnvironment, Services], Asked | None]"] = {
    "/api/v1/models/": rest.asked,
    "/v1/models/": tf_serving.asked,
    "/v2/models/": open_inference.asked,
    "/models/": mlflow.asked,
    "/invocations": mlflow.asked,
}
"""By how their paths begin."""


def with_shortcut(application: "WSGIApplication", services: Services) -> "WSGIApplication":
    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        asked = _asked(environ, services)
        servable = services.versions.find_cached(asked.model, asked.reference) if asked is not None else None
        if asked is None or servable is None:
            return application(environ, start_response)
        body = b""
        try:
            body = services.readers.read(environ["wsgi.input"].read, int(environ["CONTENT_LENGTH"]))
            reply = asked.answer(servable, body)
        except ServiceError as error:
            return application(_with_attempt(environ, Attempt(servable, error), body), start_response)
        except Exception:  # noqa: BLE001 - whatever it is, Flask meets it again and says it
            if body:
                environ["wsgi.input"] = io.BytesIO(body)
            return application(environ, start_response)
        if not isinstance(reply, Reply):
            return application(_with_attempt(environ, Attempt(servable, reply), body), start_response)
        services.metrics.count(asked.route, servable.model, str(servable.number))
        headers = [
            ("Content-Type", reply.media_type),
            ("Content-Length", str(len(reply.body))),
            (VERSION_HEADER, servable.name),
            (REQUEST_ID_HEADER, get_request_id(environ)),
            *reply.headers,
        ]
        start_response("200 OK", headers)
        return [reply.body]

    return call


def _asked(environ: "WSGIEnvironment", services: Services) -> Asked | None:
    """None for any other request, and for a body whose length is not known or too much."""
    path, length = environ["PATH_INFO"], environ.get("CONTENT_LENGTH") or ""
    if environ["REQUEST_METHOD"] != "POST" or "HTTP_TRANSFER_ENCODING" in environ or not path.isascii():
        return None
    asked = next((read(environ, services) for start, read in _LANGUAGES.items() if path.startswith(start)), None)
    return asked if asked is not None and length.isdecimal() and 0 < int(length) < asked.max_bytes else None


def _with_attempt(environ: "WSGIEnvironment", attempt: Attempt, body: bytes) -> "WSGIEnvironment":
    """`body` is what was read."""
    environ[ATTEMPT] = attempt
    if body:
        environ["CONTENT_LENGTH"] = "0"  # of what is left
    return environ
