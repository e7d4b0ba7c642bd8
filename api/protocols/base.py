"""Define the interface of the wire formats, and answer prediction requests through it in Flask."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from flask import Response

from api.protocols.call import VERSION_HEADER, PredictionCall, Reply
from api.services import services
from shared.errors import ServiceError
from shared.inference.servable import Servable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Call = TypeVar("Call", bound=PredictionCall)


class InferenceProtocol(Protocol[Call]):
    """A wire format: it parses a request, answers it, and formats an error.

    The fast path and the Flask views both answer with these methods, so that their responses are equal.
    """

    def parse(self, environ: "WSGIEnvironment") -> Call | None:
        """Parse the path and the headers. Returns None for a request that only Flask answers. Never raises."""

    def answer(self, call: Call, servable: Servable, body: bytes) -> Reply:
        """Parse the body, predict and format the reply. Raises ServiceError."""

    def error(self, error: ServiceError) -> Reply:
        """Format an error as the clients of this format expect it."""


def answer_in_flask(route: str, find: Callable[[], Servable], answer: Callable[[Servable], Reply]) -> Response:
    """Find the version, answer the request, and count it under `route`. Raises what `find` and `answer` raise."""
    with services().metrics.count_request(route) as counted:
        servable = find()
        counted.model, counted.version = servable.model, str(servable.number)
        reply = answer(servable)
    return to_flask_response(reply, servable)


def to_flask_response(reply: Reply, servable: Servable | None = None) -> Response:
    """Convert a reply. The header `Trainyard-Version` names `servable`; None for no header."""
    headers = [*reply.headers, *([(VERSION_HEADER, servable.name)] if servable is not None else [])]
    return Response(reply.body, status=reply.status, headers=headers, content_type=reply.media_type)
