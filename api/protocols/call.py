"""A request for predictions, in whatever language: it comes to the same before Flask and in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from flask import Response, request

from api.serving.metrics import Served
from api.serving.predictor import Outputs
from shared.errors import ServiceError
from shared.inference.servable import LoadedVersion

VERSION_HEADER = "Trainyard-Version"
ATTEMPT = "trainyard.attempt"
"""Where one is in the environment of a request."""
JSON = "application/json"


class Reply(NamedTuple):
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    """`route` is what the metrics call it. `answer` makes a reply to the body, or, of inputs that could not all be
    read, what else it came to; it raises ServiceError.
    """

    route: str
    model: str
    reference: str | None
    most_bytes: int
    answer: Callable[[LoadedVersion, bytes], Reply | Outputs]


@dataclass(frozen=True)
class Attempt:
    """What came of a request before Flask, where it is no plain answer."""

    loaded: LoadedVersion
    came_to: Outputs | ServiceError


def begun(served: Served, find: Callable[[], LoadedVersion]) -> LoadedVersion:
    """The version that is asked. Raises ServiceError, as it was raised before Flask or as `find` does."""
    attempt: Attempt | None = request.environ.get(ATTEMPT)
    loaded = find() if attempt is None else attempt.loaded
    served.model, served.version = loaded.model, str(loaded.number)
    if attempt is not None and isinstance(attempt.came_to, ServiceError):
        raise attempt.came_to
    return loaded


def outputs_before_flask() -> Outputs | None:
    """None where it came to none."""
    attempt: Attempt | None = request.environ.get(ATTEMPT)
    return attempt.came_to if attempt is not None and isinstance(attempt.came_to, Outputs) else None


def response_of(reply: Reply, loaded: LoadedVersion) -> Response:
    headers = [(VERSION_HEADER, loaded.name), *reply.headers]
    return Response(reply.body, headers=headers, content_type=reply.media_type)
