"""Answers as Flask and the OpenAPI document want them."""

from http import HTTPStatus
from typing import Any

from flask import Response
from pydantic import BaseModel

from api.http.problems import MEDIA_TYPE, STATUS
from shared.errors import DatabaseUnavailable, InvalidRequest, ServiceError

PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def to_response(
    answer: BaseModel, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    body = answer.model_dump_json(by_alias=True)
    return Response(body, status=status, headers=headers, content_type="application/json")


def describe_problems(*errors: type[ServiceError]) -> dict[Any, Any]:
    """For a route's `responses`: the problems it may answer with, by status; what was sent may always be wrong, and the
    database be away."""
    kinds: dict[HTTPStatus, list[str]] = {}
    every: tuple[type[ServiceError], ...] = (*errors, InvalidRequest, DatabaseUnavailable)
    for error in every:
        kinds.setdefault(STATUS[error], []).append(error.kind)
    return {
        str(int(status)): {
            "description": f"{status.phrase}: {', '.join(names)}",
            "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}},
        }
        for status, names in kinds.items()
    }


def describe_bytes(media_type: str, description: str) -> dict[str, Any]:
    """For a route's `responses`: content that is no JSON."""
    return {"description": description, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
