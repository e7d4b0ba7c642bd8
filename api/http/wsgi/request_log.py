"""Log each request with its status and duration."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from api.http.wsgi.request_ids import REQUEST_ID_HEADER
from shared import logs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)


def log_requests(application: "WSGIApplication") -> "WSGIApplication":
    """Wrap a WSGI application so that each request is logged when its answer begins.

    The line has the method, the path without the query, the status, and the milliseconds until the answer began.
    """

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        began = time.monotonic()

        def start(status: str, headers: list[tuple[str, str]], *rest: object) -> Callable[[bytes], object]:
            milliseconds = 1000 * (time.monotonic() - began)
            path = quote(environ["PATH_INFO"], encoding="latin-1")  # as WSGI decodes it; a line break stays encoded
            with logs.add_context(request_id=dict(headers).get(REQUEST_ID_HEADER, "")):
                logger.info("%s %s %s in %.1f ms", environ["REQUEST_METHOD"], path, status[:3], milliseconds)
            return start_response(status, headers, *rest)  # type: ignore[arg-type]

        return application(environ, start)

    return call
