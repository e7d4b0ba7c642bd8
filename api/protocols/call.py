"""A request for predictions, in whatever language: it comes to the same before Flask and in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from flask import Response, request

from api.serving.metrics import CountedRequest
from api.serving.predictor import PredictionOutputs
from shared.errors import ServiceError
from shared.inference.servable import Servable

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
    max_bytes: int
    answer: Callable[[Servable, bytes], Reply | PredictionOutputs]


@dataclass(frozen=True)
class Attempt:
    """What came of a request before Flask, where it is no plain answer."""

    servable: Servable
    came_to: PredictionOutputs | ServiceError


def begun(served: CountedRequest, find: Callable[[], Servable]) -> Servable:
    """The version that is asked. Raises ServiceError, as it was raised before Flask or as `find` does."""
    attempt: Attempt | None = request.environ.get(ATTEMPT)
    servable = find() if attempt is None else attempt.servable
    served.model, served.version = servable.model, str(servable.number)
    if attempt is not None and isinstance(attempt.came_to, ServiceError):
        raise attempt.came_to
    return servable


def outputs_before_flask() -> PredictionOutputs | None:
    """None where it came to none."""
    attempt: Attempt | None = request.environ.get(ATTEMPT)
    return attempt.came_to if attempt is not None and isinstance(attempt.came_to, PredictionOutputs) else None


def response_of(reply: Reply, servable: Servable) -> Response:
    headers = [(VERSION_HEADER, servable.name), *reply.headers]
    return Response(reply.body, headers=headers, content_type=reply.media_type)
