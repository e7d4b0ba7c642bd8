"""Define the interface of the wire formats, and answer prediction requests through it in Flask."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from flask import Response

from api.access.callers import get_caller
from api.access.models import check_model
from api.http.bodies import read_body
from api.http.problems import choose_headers, log_defect
from api.protocols.call import VERSION_HEADER, PredictionCall, Reply
from api.services import services
from shared.access.rights import Scope
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


def answer_call(protocol: InferenceProtocol[Call], call: Call) -> Response:
    """Answer the current request of Flask, and count it under the call's route. Raises ServiceError."""
    return answer_in_flask(
        call.route,
        call.model,
        lambda: services().model_cache.get(call.model, call.reference),
        lambda servable: protocol.answer(call, servable, read_body(call.max_bytes)),
    )


def answer_in_flask(
    route: str, model: str, find: Callable[[], Servable], answer: Callable[[Servable], Reply]
) -> Response:
    """Find a version of `model`, answer the request, and count it under `route`.

    Raises ModelNotFound for a model that the caller may not ask, and what `find` and `answer` raise.
    """
    check_model(services().gate, get_caller(), model, Scope.PREDICT)
    with services().metrics.count_request(route) as counted:
        servable = find()
        counted.model, counted.version = servable.model, servable.reference
        reply = answer(servable)
    return to_flask_response(reply, servable)


def make_error_reply(format_error: Callable[[ServiceError], Reply], error: ServiceError) -> Reply:
    """Format an error, add `Retry-After` if it is transient, and log it if its status is 500 or above.

    `format_error` is the method `error` of a wire format.
    """
    log_defect(error)
    reply = format_error(error)
    return reply._replace(headers=(*reply.headers, *choose_headers(error).items()))


def to_flask_response(reply: Reply, servable: Servable | None = None) -> Response:
    """Convert a reply. The header `Trainyard-Version` names `servable`; None for no header."""
    headers = [*reply.headers, *([(VERSION_HEADER, servable.name)] if servable is not None else [])]
    return Response(reply.body, status=reply.status, headers=headers, content_type=reply.media_type)
