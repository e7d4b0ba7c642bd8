"""Answer predictions of loaded versions before Flask is entered, and pass every other request on to Flask, unread.

For a small network, Flask and the middleware take twice as long as the rest of a prediction.
"""

import logging
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from api.http.bodies import parse_length
from api.http.problems import MEDIA_TYPE, make_defect_problem
from api.http.wsgi.cross_site import NO_SNIFF
from api.http.wsgi.request_ids import REQUEST_ID_HEADER, get_request_id
from api.http.wsgi.slow_clients import LimitedBody
from api.protocols.base import InferenceProtocol, make_error_reply
from api.protocols.call import VERSION_HEADER, PredictionCall, Reply
from api.protocols.hugging_face import HuggingFaceProtocol
from api.protocols.mlflow import MlflowProtocol
from api.protocols.open_inference import OpenInferenceProtocol
from api.protocols.rest import RestProtocol
from api.protocols.tf_serving import TfServingProtocol
from api.services import Services
from api.serving.metrics import INTERNAL_ERROR, OK
from shared import logs
from shared.errors import ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

DECOMPRESSING = ("/v1/", "/v2/")
"""Paths whose bodies may be compressed. Flask answers the others."""
AnyProtocol = InferenceProtocol[Any]
"""A wire format; each has its own type of call."""


def with_fast_path(application: "WSGIApplication", services: Services) -> "WSGIApplication":
    """Wrap the WSGI application of Flask. A request that the fast path takes is also answered here if it fails."""
    protocols = _make_protocols(services)

    def call_wsgi(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        parsed = _parse(environ, protocols)
        if parsed is None:
            return application(environ, start_response)
        protocol, call = parsed
        caller = services.gate.find_cached(environ)
        if caller is None and (refusal := services.gate.find_refusal(environ)) is not None:
            request_id = get_request_id(environ)
            with logs.add_context(request_id=request_id):
                reply = make_error_reply(protocol.error, refusal)
            return _send(start_response, reply, request_id, LimitedBody(environ, services.clients))
        if caller is None or not caller.may_predict(call.model):
            return application(environ, start_response)
        servable = services.model_cache.find_cached(call.model, call.reference)
        if servable is None or not caller.take_turn():
            return application(environ, start_response)
        request_id, outcome, body = get_request_id(environ), OK, LimitedBody(environ, services.clients)
        with logs.add_context(request_id=request_id):
            services.clients.begin()
            try:
                reply = protocol.answer(call, servable, body.read(int(environ["CONTENT_LENGTH"])))
            except ServiceError as error:
                outcome, reply = error.kind, make_error_reply(protocol.error, error)
            except Exception:
                logger.exception("prediction by %s failed unexpectedly", servable.name)
                outcome, reply = INTERNAL_ERROR, _make_defect_reply()
            finally:
                services.clients.end()
        services.metrics.count(call.route, servable.model, servable.reference, outcome)
        further = [(VERSION_HEADER, servable.name)] if outcome is OK else []
        return _send(start_response, reply, request_id, body, further)

    return call_wsgi


def _send(
    start_response: "StartResponse",
    reply: Reply,
    request_id: str,
    body: LimitedBody,
    further: Sequence[tuple[str, str]] = (),
) -> list[bytes]:
    """Send a reply with its headers and `further` ones. What is left of the body of the request is read before."""
    headers = [
        ("Content-Type", reply.media_type),
        ("Content-Length", str(len(reply.body))),
        (REQUEST_ID_HEADER, request_id),
        NO_SNIFF,
        *reply.headers,
        *further,
    ]
    if not body.drain():
        headers.append(("Connection", "close"))
    start_response(f"{reply.status.value} {reply.status.phrase}", headers)
    return [reply.body]


def _make_protocols(services: Services) -> tuple[tuple[str, AnyProtocol], ...]:
    """Return the wire formats with the prefix of their paths. The first that can parse a request answers it."""
    return (
        ("/api/v1/models/", RestProtocol(services)),
        ("/v1/models/", TfServingProtocol(services)),
        ("/v2/models/", OpenInferenceProtocol(services)),
        ("/models/", MlflowProtocol(services)),
        ("/models/", HuggingFaceProtocol(services)),
        ("/invocations", MlflowProtocol(services)),
    )


def _parse(
    environ: "WSGIEnvironment", protocols: tuple[tuple[str, AnyProtocol], ...]
) -> tuple[AnyProtocol, PredictionCall] | None:
    """Find the wire format that can parse the request, and parse its path and headers.

    Returns None for any other request, and for a body that is empty, of unknown length, or not below the limit.
    """
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] != "POST" or "HTTP_TRANSFER_ENCODING" in environ or not path.isascii():
        return None
    if "HTTP_CONTENT_ENCODING" in environ and not path.startswith(DECOMPRESSING):
        return None
    for start, protocol in protocols:
        if path.startswith(start) and (call := protocol.parse(environ)) is not None:
            return (protocol, call) if 0 < (parse_length(environ.get("CONTENT_LENGTH")) or 0) < call.max_bytes else None
    return None


def _make_defect_reply() -> Reply:
    """Make the reply to a request that ended with an unexpected exception. It is the same in every wire format."""
    body = make_defect_problem().model_dump_json(by_alias=True).encode()
    return Reply(body, MEDIA_TYPE, HTTPStatus.INTERNAL_SERVER_ERROR)
