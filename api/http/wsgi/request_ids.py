"""Add an id to each request: that of the client, if it is valid, or a new one."""

import random
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shared import logs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Writer = Callable[[bytes], object]

REQUEST_ID_HEADER = "X-Request-ID"


def get_request_id(environ: "WSGIEnvironment") -> str:
    """Return the value of X-Request-ID if it has 1 to 64 letters, digits, `_`, `.`, `:` or `-`; else a random id."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if given and re.fullmatch(r"[\w.:-]{1,64}", given) else f"{random.getrandbits(64):016x}"


def add_request_ids(application: "WSGIApplication") -> "WSGIApplication":
    """Wrap a WSGI application so that every log line, problem document and response has the request id."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request_id = get_request_id(environ)

        def start(status: str, headers: list[tuple[str, str]], *rest: object) -> "Writer":
            return start_response(status, [*headers, (REQUEST_ID_HEADER, request_id)], *rest)  # type: ignore[arg-type]

        with logs.add_context(request_id=request_id):
            return application(environ, start)

    return call
