"""Build the HTTP response for a picture, with a cache on the server and an ETag for the client."""

import hashlib
from collections.abc import Callable
from typing import Any

from flask import Response, request
from pydantic import BaseModel, Field

from api.charts.cache import PictureCache
from api.charts.kinds import Drawing, PictureFormat, Theme

MEDIA_TYPES = {PictureFormat.SVG: "image/svg+xml", PictureFormat.PNG: "image/png"}
PICTURE: dict[str, Any] = {
    "description": "SVG or PNG, as the path ends. The ETag changes when the content of the picture changes.",
    "content": {key: {"schema": {"type": "string", "format": "binary"}} for key in ("image/png", "image/svg+xml")},
}


class PictureQuery(BaseModel):
    theme: Theme | None = Field(
        default=None,
        description="Colours for a light or a dark page. "
        "Default: a PNG is light, and an SVG follows the colour scheme of the browser.",
    )


def make_picture_response(
    cache: PictureCache,
    picture_format: PictureFormat,
    query: PictureQuery,
    content: tuple[object, ...],
    make: Callable[[], Drawing],
) -> Response:
    """Return the picture from the cache, or draw and render it. The status is 304 if the client's ETag is current.

    Args:
        cache: cache of the rendered pictures.
        picture_format: SVG or PNG.
        query: theme of the picture.
        content: all values that determine the picture. Each repr must be complete: its digest is the cache key and
            the ETag.
        make: draws the picture; called only if it is not cached.
    """
    digest = hashlib.sha256(repr((picture_format, query, content)).encode()).hexdigest()

    def draw() -> bytes:
        from api.charts.rendering import render  # slow to import: only the first picture waits for it

        drawing, size = make()
        return render(drawing, size, picture_format, query.theme)

    response = Response(cache.get_or_render(digest, draw), content_type=MEDIA_TYPES[picture_format])
    response.set_etag(digest)
    response.headers["Cache-Control"] = "no-cache"  # the picture behind a URL can change: clients must revalidate it
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    response.make_conditional(request)
    return response
