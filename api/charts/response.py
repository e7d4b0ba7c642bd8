"""A picture as an answer: drawn once for what it shows, and not sent to those who have it."""

import hashlib
from collections.abc import Callable
from typing import Any

from flask import Response, request
from pydantic import BaseModel, Field

from api.charts.cache import PictureCache
from api.charts.kinds import Drawing, PictureFormat, Theme

MEDIA_TYPES = {PictureFormat.SVG: "image/svg+xml", PictureFormat.PNG: "image/png"}
PICTURE: dict[str, Any] = {
    "description": "As the address ends; its ETag stays while it does",
    "content": {key: {"schema": {"type": "string", "format": "binary"}} for key in ("image/png", "image/svg+xml")},
}


class PictureQuery(BaseModel):
    theme: Theme | None = Field(
        default=None,
        description="For a light page or a dark one; left out, an SVG follows its reader and a PNG is light",
    )


def make_picture_response(
    cache: PictureCache,
    picture_format: PictureFormat,
    query: PictureQuery,
    content: tuple[object, ...],
    make: Callable[[], Drawing],
) -> Response:
    """`content` is all that the picture shows, as values whose repr says all that they are."""
    digest = hashlib.sha256(repr((picture_format, query, content)).encode()).hexdigest()

    def draw() -> bytes:
        from api.charts.rendering import render  # Matplotlib comes with the first picture

        drawing, size = make()
        return render(drawing, size, picture_format, query.theme)

    response = Response(cache.get_or_render(digest, draw), content_type=MEDIA_TYPES[picture_format])
    response.set_etag(digest)
    response.headers["Cache-Control"] = "no-cache"  # the address stays and what it shows may not: ask each time
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    response.make_conditional(request)
    return response
