"""Answer the REST API of TensorFlow Serving, with the additions of KServe and of OpenVINO Model Server."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Response, redirect, request, url_for
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.access.callers import get_caller
from api.access.models import check_model
from api.access.needs import needs, open_to_all
from api.http.bodies import read_body
from api.http.problems import STATUS
from api.protocols.base import answer_in_flask, make_error_reply, to_flask_response
from api.protocols.call import Reply
from api.protocols.decompression import decompress
from api.protocols.tensors import dump_json, make_json_response
from api.protocols.tf_serving_codec import SIGNATURE, VERBS, TfServingCall, parse_document
from api.services import Services, services
from shared.access.rights import Scope
from shared.database.pagination import Page
from shared.database.tables.registry import Version
from shared.errors import MalformedRequest, ModelNotFound, ServiceError, VersionNotFound
from shared.inference.servable import Servable
from shared.preprocessing.text import TextContract
from shared.references import MAX_DIGITS
from shared.registry import versions
from shared.registry.manifest import TensorSignature

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "tf-serving"
HTML = "text/html"
MAX_VERSIONS = 100
"""The most versions in the status of a model."""
MAX_MODELS = 1000
MAX_VERSION = 2**63 - 1
"""The largest version number of TensorFlow Serving, an int64."""
MAX_VERSION_DIGITS = len(str(MAX_VERSION))
_PATH = re.compile(
    r"models(?:/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?)?"
    r"(?::(?P<verb>predict|classify|regress)|/(?P<metadata>metadata))?/?",
    re.IGNORECASE,
)

bp = Blueprint("tf_serving", __name__)


@dataclass(frozen=True)
class Target:
    """The version that a path names. Without version and label, it is the version that the model serves."""

    model: str
    version: str | None
    label: str | None

    def find(self) -> Servable:
        """Return the version, loaded if necessary. Raises ServiceError with the message of TensorFlow Serving."""
        try:
            return services().model_cache.get(self.model, self.to_reference())
        except (ModelNotFound, VersionNotFound) as error:
            raise self.translate(error) from None

    def to_reference(self) -> str | None:
        """Return a version number or an alias; None for the version that the model serves.

        Version 0 is also the served version: ovmsclient sends it as the default. Raises MalformedRequest for a number
        above MAX_VERSION.
        """
        if self.version is None:
            return self.label
        digits = self.version.lstrip("0") or "0"
        if len(digits) > MAX_VERSION_DIGITS or int(digits) > MAX_VERSION:
            raise MalformedRequest(f"Failed to convert version: {self.version[:100]} to numeric.")
        return str(int(digits)) if digits != "0" else None

    def translate(self, error: ServiceError) -> ServiceError:
        """Replace the message of ModelNotFound or VersionNotFound by that of TensorFlow Serving."""
        if self.label is not None and isinstance(error, VersionNotFound):
            return MalformedRequest(f"Unrecognized servable version label: {self.label}")
        which = f"Specific({self.model}, {self.version})" if self.version is not None else f"Latest({self.model})"
        return type(error)(f"Servable not found for request: {which}")


class TfServingProtocol:
    """The REST API of TensorFlow Serving. Requests may have any Content-Type, as in TensorFlow Serving."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> TfServingCall | None:
        """Parse a request. Returns None for a path without a verb, and for a version of more than MAX_DIGITS digits."""
        found = _PATH.fullmatch(environ["PATH_INFO"].removeprefix("/v1/"))
        if found is None or found["model"] is None or found["verb"] is None:
            return None
        target = Target(found["model"], found["version"], found["label"])
        return (
            self.make_call(target, found["verb"].lower(), environ)
            if len(found["version"] or "") <= MAX_DIGITS
            else None
        )

    def make_call(self, target: Target, verb: str, environ: "WSGIEnvironment") -> TfServingCall:
        """Build the call. Raises MalformedRequest for a version number that is too large."""
        reference = target.to_reference()
        encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        route = f"{ROUTE}-{verb}"
        return TfServingCall(route, target.model, reference, self._services.max_request_bytes, verb, encoding)

    def answer(self, call: TfServingCall, servable: Servable, body: bytes) -> Reply:
        """Parse the body, predict, classify or regress, and format the reply. Raises ServiceError."""
        body = decompress(body, call.encoding, call.max_bytes, self._services.clients)
        document = parse_document(servable, body, self._services.bodies)
        return VERBS[call.verb](self._services.predictor, servable, document)

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as `{"error": …}`. 413 and 422 become 400, because TensorFlow Serving does not use them."""
        status = STATUS[type(error)]
        if status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            status = HTTPStatus.BAD_REQUEST
        return Reply(dump_json({"error": error.detail}), status=status)


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(make_error_reply(TfServingProtocol.error, error))


@bp.get("/")
@open_to_all
def show_liveness() -> Response:
    """Report that the server is alive.

    This is the liveness check of KServe. A browser is sent to the pages.
    """
    if request.accept_mimetypes.best_match(("application/json", HTML)) == HTML:
        response = cast(Response, redirect(url_for("web.show_home"), HTTPStatus.SEE_OTHER))
    else:
        response = make_json_response({"status": "alive"})
    response.vary.add("Accept")
    return response


@bp.get("/monitoring/prometheus/metrics")
@needs(Scope.METRICS)
def show_metrics() -> Response:
    """Show the metrics for Prometheus."""
    return Response(services().metrics.render(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@bp.get("/v1/config")
@needs(Scope.READ)
def show_config() -> Response:
    """Show the status of each model.

    The status is that of the version that the model serves. This is a call of OpenVINO Model Server.
    """
    with services().sessions() as session:
        served = versions.list_served_versions(session, MAX_MODELS)
    return make_json_response(
        {version.model: {"model_version_status": [_format_status(version)]} for version in served}
    )


@bp.get("/v1/models")
@needs(Scope.READ)
def list_models() -> Response:
    """List the names of the models.

    This is a call of KServe. TensorFlow Serving does not have it.
    """
    with services().sessions() as session:
        names = [model.name for model in versions.list_models(session, Page(MAX_MODELS))]
    return make_json_response({"models": names})


@bp.get("/<any(v1, V1):_>/<path:rest>")
@needs(Scope.PREDICT)
def show(_: str, rest: str) -> Response:
    """Show status or metadata.

    Shows the status of the versions of a model, or the signature of a version with `/metadata`.
    """
    target, verb, wants_metadata = _parse_path(rest)
    if verb is not None:
        raise _build_malformed_error()
    check_model(services().gate, get_caller(), target.model, Scope.PREDICT)
    return _show_metadata(target) if wants_metadata else _show_status(target)


@bp.post("/<any(v1, V1):_>/<path:rest>")
@needs(Scope.PREDICT)
def predict(_: str, rest: str) -> Response:
    """Predict, classify or regress.

    The path ends in `:predict`, `:classify` or `:regress`.
    """
    target, verb, _metadata = _parse_path(rest)
    if verb is None:
        raise _build_malformed_error()
    protocol = TfServingProtocol(services())
    call = protocol.make_call(target, verb, request.environ)
    return answer_in_flask(
        call.route,
        target.model,
        target.find,
        lambda servable: protocol.answer(call, servable, read_body(call.max_bytes)),
    )


def _parse_path(rest: str) -> tuple[Target, str | None, bool]:
    """Parse the path after `/v1/`. Raises MalformedRequest.

    Returns:
        The target; the verb in lower case, or None; and whether the path ends in `/metadata`.
    """
    found = _PATH.fullmatch(rest)
    if found is None or found["model"] is None:
        raise _build_malformed_error()
    verb = found["verb"].lower() if found["verb"] else None
    return Target(found["model"], found["version"], found["label"]), verb, found["metadata"] is not None


def _build_malformed_error() -> MalformedRequest:
    return MalformedRequest(f"Malformed request: {request.method} {request.path}")


def _show_status(target: Target) -> Response:
    """Show the status of versions. The response has the keys of TensorFlow Serving and those of KServe."""
    with services().sessions() as session:
        try:
            if target.version is not None or target.label is not None:
                reference = target.to_reference()
                found = [
                    versions.get_version(session, target.model, reference)
                    if reference is not None
                    else versions.get_served_version(session, target.model)
                ]
            else:
                found = versions.list_versions(session, target.model, Page(MAX_VERSIONS))
        except (ModelNotFound, VersionNotFound) as error:
            if target.label is not None and isinstance(error, VersionNotFound):
                raise target.translate(error) from None
            found = []
    if not found:
        if target.version is not None:
            raise VersionNotFound(f"Could not find version {target.version} of model {target.model}")
        raise ModelNotFound(f"Could not find any versions of model {target.model}")
    status = [_format_status(version) for version in found]
    return make_json_response({"model_version_status": status, "name": target.model, "ready": True})


def _format_status(version: Version) -> dict[str, Any]:
    failure = services().model_cache.get_failure(version.id)
    error = {"error_code": "OK", "error_message": ""}
    if failure is not None:
        error = {"error_code": "DATA_LOSS", "error_message": failure}
    is_gone = failure is not None or services().model_cache.is_unloaded(version.id)
    return {"version": version.reference, "state": "END" if is_gone else "AVAILABLE", "status": error}


def _show_metadata(target: Target) -> Response:
    servable = target.find()
    signature = servable.manifest.signature
    definition = {
        "inputs": {tensor.name: _format_input(servable, tensor) for tensor in signature.inputs},
        "outputs": {tensor.name: _format_tensor(tensor.name, tensor.shape) for tensor in signature.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return make_json_response(
        {
            "model_spec": {"name": servable.model, "signature_name": "", "version": servable.reference},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: definition}}},
        },
        servable=servable,
    )


def _format_input(servable: Servable, tensor: TensorSignature) -> dict[str, Any]:
    if isinstance(servable.manifest.preprocessing, TextContract):
        return _format_tensor(tensor.name, (-1,), "DT_STRING")
    return _format_tensor(tensor.name, tensor.shape)


def _format_tensor(name: str, shape: tuple[int, ...], dtype: str = "DT_FLOAT") -> dict[str, Any]:
    dimensions = [{"size": str(side), "name": ""} for side in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": f"{name}:0"}
