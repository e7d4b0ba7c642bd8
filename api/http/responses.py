"""Make responses, and describe them for the OpenAPI document."""

from http import HTTPStatus
from typing import IO, Any

from flask import Response, request
from pydantic import BaseModel
from werkzeug.wsgi import FileWrapper

from api.http.problems import MEDIA_TYPE, STATUS
from shared.errors import (
    DatabaseUnavailable,
    HostNotAllowed,
    InvalidRequest,
    KeyExpired,
    NoAdminYet,
    NotAllowed,
    NotAuthenticated,
    OriginNotAllowed,
    RateExceeded,
    ServiceError,
)

CHUNK_BYTES = 2**18
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


EVERYWHERE: tuple[type[ServiceError], ...] = (
    InvalidRequest,
    OriginNotAllowed,
    HostNotAllowed,
    DatabaseUnavailable,
    NotAuthenticated,
    KeyExpired,
    NotAllowed,
    NoAdminYet,
    RateExceeded,
)
"""The problems that every route can answer."""


def to_response(
    answer: BaseModel, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Return a document as a JSON response."""
    body = answer.model_dump_json(by_alias=True)
    return Response(body, status=status, headers=headers, content_type="application/json")


def make_download(content: IO[bytes], sha256: str, size_bytes: int, name: str, media_type: str) -> Response:
    """Make a response that sends a file in chunks and then closes it. `name` is the name for the client.

    Only a part is sent if the request has a `Range`, and nothing (status 304) if its `If-None-Match` is the digest.
    """
    response = Response(FileWrapper(content, CHUNK_BYTES), content_type=media_type, direct_passthrough=True)
    response.content_length = size_bytes
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.set_etag(sha256)
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=size_bytes)
    except BaseException:  # a range that the file does not have
        response.close()
        raise
    return response


def describe_problems(*errors: type[ServiceError]) -> dict[Any, Any]:
    """Describe the problems of a route for its `responses`, one entry for each status.

    EVERYWHERE is always included.
    """
    kinds: dict[HTTPStatus, list[str]] = {}
    for error in (*errors, *EVERYWHERE):
        kinds.setdefault(STATUS[error], []).append(error.kind)
    return {
        str(int(status)): {
            "description": f"{status.phrase}. Problem types: {', '.join(names)}.",
            "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}},
        }
        for status, names in kinds.items()
    }


def describe_bytes(media_type: str, description: str) -> dict[str, Any]:
    """Describe content that is not JSON for the `responses` of a route."""
    schema = {"type": "string"}
    if not media_type.startswith("text/"):
        schema |= {"format": "binary", "contentMediaType": media_type}
    return {"description": description, "content": {media_type: {"schema": schema}}}
