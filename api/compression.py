"""Compress answers for clients that accept gzip, and let them keep documents that rarely change."""

import gzip
from http import HTTPStatus

from flask import Response, request

MIN_BYTES = 1024
MAX_BYTES = 4 * 2**20
"""Larger answers are not compressed: it would hold Python's lock for long."""
LEVEL = 5
MEDIA_TYPES = frozenset(
    {"application/json", "application/problem+json", "image/svg+xml", "text/css", "text/csv", "text/html", "text/plain"}
    | {"text/javascript", "text/markdown"}
)
REVALIDATED = frozenset({"catalog.show_catalog", "openapi"})
"""Endpoints whose answers get an ETag: they are large, and change with the release alone."""


def finish_response(response: Response) -> Response:
    """Add an ETag to an answer of REVALIDATED, and compress a text for a client that accepts it.

    Streams and files are sent as they are, and so are the answers to POST: predictions are faster so.
    """
    is_whole = not (response.is_streamed or response.direct_passthrough)
    if request.method not in ("GET", "HEAD") or response.status_code != HTTPStatus.OK or not is_whole:
        return response
    if request.endpoint in REVALIDATED:
        response.add_etag()
        response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
        if response.status_code != HTTPStatus.OK:
            return response
    if response.mimetype in MEDIA_TYPES and "Content-Encoding" not in response.headers:
        response.vary.add("Accept-Encoding")
        content = response.get_data()
        if MIN_BYTES <= len(content) <= MAX_BYTES and request.accept_encodings["gzip"] > 0:
            response.set_data(gzip.compress(content, LEVEL, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
            _weaken_etag(response)
    return response


def _weaken_etag(response: Response) -> None:
    """Make the ETag weak: the bytes differ from those that are not compressed."""
    etag, is_weak = response.get_etag()
    if etag is not None and not is_weak:
        response.set_etag(etag, weak=True)
