"""Answer the Open Inference Protocol v2 with the extensions that Triton's clients use.

These are binary tensor data, classification, model repository and statistics.
"""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from sqlalchemy import select

from api.access import objects
from api.access.needs import needs, open_to_all
from api.http.bodies import read_body
from api.http.problems import STATUS
from api.protocols.base import answer_call, make_error_reply, to_flask_response
from api.protocols.call import Reply
from api.protocols.open_inference_codec import BYTES, OpenInferenceCall, answer_inference, read_object
from api.protocols.tensors import dump_json, make_json_response
from api.services import Services, services
from shared.access.rights import Scope
from shared.database.engine import DATABASE_ERRORS
from shared.database.pagination import Page
from shared.database.tables.registry import Model, Version
from shared.errors import ModelNotFound, ServiceError, VersionNotFound
from shared.inference.servable import InferenceStatistics, Servable
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.text import TextContract
from shared.registry import versions
from shared.registry.manifest import TensorSignature

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "open-inference"
_INFER = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
NAME, EXTENSIONS = "trainyard", ("binary_tensor_data", "classification", "model_repository", "statistics")
MAX_MODELS = 1000
"""The most models in a list, and the most versions of a model."""
READY = "READY"
TRITON_TYPES = {"FP32": "TYPE_FP32", BYTES: "TYPE_STRING"}
PASSED_STATUSES = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
"""Statuses of errors that Triton, or a proxy before it, also uses. All other errors get 400, as in Triton."""

bp = Blueprint("open_inference", __name__)


class OpenInferenceProtocol:
    """The Open Inference Protocol v2 with extensions of Triton."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> OpenInferenceCall | None:
        """Parse a request. Returns None for another path."""
        found = _INFER.fullmatch(environ["PATH_INFO"])
        return self.make_call(found["model"], found["version"], environ) if found is not None else None

    def make_call(self, model: str, version: str | None, environ: "WSGIEnvironment") -> OpenInferenceCall:
        """Build the call from the path and the headers. `version` is None for the version that the model serves."""
        return OpenInferenceCall(
            ROUTE,
            model,
            version,
            self._services.max_request_bytes,
            environ.get("HTTP_CONTENT_ENCODING", "").strip().lower(),
            environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"),
        )

    def answer(self, call: OpenInferenceCall, servable: Servable, body: bytes) -> Reply:
        """Parse the body, predict and format the reply. Raises ServiceError."""
        return answer_inference(self._services, call, servable, body)

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as `{"error": …}`. Statuses that Triton does not use become 400."""
        status = STATUS[type(error)]
        return Reply(
            dump_json({"error": error.detail}), status=status if status in PASSED_STATUSES else HTTPStatus.BAD_REQUEST
        )


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(make_error_reply(OpenInferenceProtocol.error, error))


@bp.get("/v2/health/live")
@open_to_all
def show_liveness() -> Response:
    """Report that the server is alive."""
    return make_json_response({"live": True})


@bp.get("/v2/health/ready")
@open_to_all
def show_readiness() -> Response:
    """Report that the server is ready.

    This is always true: the versions in memory are served without Redis and without the database.
    """
    return make_json_response({"ready": True, "live": True})


@bp.get("/v2", strict_slashes=False)
@needs(Scope.PREDICT)
def show_server() -> Response:
    """Show the name and the extensions of the server."""
    return make_json_response({"name": NAME, "version": "1", "extensions": EXTENSIONS})


@bp.get("/v2/models")
@needs(Scope.READ)
def list_models() -> Response:
    """List the names of the models."""
    with services().sessions() as session:
        return make_json_response({"models": [model.name for model in versions.list_models(session, Page(MAX_MODELS))]})


@bp.get("/v2/models/<model>")
@bp.get("/v2/models/<model>/versions/<version>")
@needs(Scope.PREDICT)
def show_model(model: str, version: str | None = None) -> Response:
    """Show the inputs and outputs of a model.

    The parameters describe the columns of a table, or the inputs of encoded images and of pixels. A text is BYTES.
    """
    servable = services().model_cache.get(model, version)
    with services().sessions() as session:
        numbers = [found.reference for found in versions.list_versions(session, model, Page(MAX_MODELS))]
    signature = servable.manifest.signature
    return make_json_response(
        {
            "name": servable.model,
            "versions": numbers[::-1],
            "platform": "onnxruntime_onnx",
            "inputs": [_describe_input(servable, tensor) for tensor in signature.inputs],
            "outputs": [
                {"name": tensor.name, "datatype": "FP32", "shape": tensor.shape} for tensor in signature.outputs
            ],
            "parameters": _describe_inputs(servable),
        },
        servable,
    )


@bp.get("/v2/models/<model>/ready")
@bp.get("/v2/models/<model>/versions/<version>/ready")
@needs(Scope.PREDICT)
def show_model_readiness(model: str, version: str | None = None) -> Response:
    """Report that a model is ready.

    Loads the version if it is not in memory, unless it was unloaded. A version that cannot be loaded is an error.
    """
    if (found := _find_version(model, version)) is not None and services().model_cache.is_unloaded(found.id):
        return make_json_response({"name": model, "ready": False}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    servable = services().model_cache.get(model, version)
    return make_json_response({"name": servable.model, "ready": True}, servable)


@bp.get("/v2/models/<model>/config")
@bp.get("/v2/models/<model>/versions/<version>/config")
@needs(Scope.PREDICT)
def show_config(model: str, version: str | None = None) -> Response:
    """Show the configuration of a model in the form of Triton."""
    servable = services().model_cache.get(model, version)
    signature = servable.manifest.signature
    described = [_describe_input(servable, tensor) for tensor in signature.inputs]

    return make_json_response(
        {
            "name": servable.model,
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "max_batch_size": 0,  # 0 means in Triton that `dims` include the batch axis
            "input": [
                {"name": one["name"], "data_type": TRITON_TYPES[one["datatype"]], "dims": one["shape"]}
                for one in described
            ],
            "output": [
                {"name": tensor.name, "data_type": "TYPE_FP32", "dims": tensor.shape} for tensor in signature.outputs
            ],
        },
        servable,
    )


@bp.get("/v2/models/stats")
@bp.get("/v2/models/<model>/stats")
@bp.get("/v2/models/<model>/versions/<version>/stats")
@needs(Scope.READ)
def show_statistics(model: str | None = None, version: str | None = None) -> Response:
    """Show the statistics of a model.

    They count since this process started. Without a model, all versions in memory are shown.
    """
    cache = services().model_cache
    if model is None:
        loaded = _list_visible(cache.list_loaded())
        rows = [_format_statistics(servable.model, servable.reference, servable.statistics) for servable in loaded]
    else:
        found = _get_version(model, version)
        rows = [_format_statistics(found.model, found.reference, cache.get_statistics(found.id))]
    return make_json_response({"model_stats": rows})


@bp.post("/v2/repository/index")
@needs(Scope.READ)
def show_repository() -> Response:
    """List the models and their states.

    Each model is listed with the version that it serves. `{"ready": true}` leaves out versions that failed to load.
    """
    body = read_body(services().max_request_bytes)
    only_ready = bool(body.strip()) and bool(read_object(services().bodies, body).get("ready"))
    with services().sessions() as session:
        served = versions.list_served_versions(session, MAX_MODELS)
    rows = [_format_index_row(version) for version in served]
    return make_json_response([row for row in rows if row["state"] == READY or not only_ready])


@bp.post("/v2/repository/models/<model>/load")
@needs(Scope.MANAGE)
def load_model(model: str) -> Response:
    """Load a model into memory.

    Its next prediction then does not wait for the load.
    """
    servable = services().model_cache.get(model)
    return make_json_response({"name": servable.model, "load": True}, servable)


@bp.post("/v2/repository/models/<model>/unload")
@needs(Scope.MANAGE)
def unload_model(model: str) -> Response:
    """Remove a model from memory.

    It is unavailable until it is loaded again: by `load`, or by the next prediction. Its statistics stay.
    """
    services().model_cache.unload(model, _get_version(model, None).id)
    with services().sessions.begin() as session:
        objects.record(session, "model-unloaded", "model", model)
    return make_json_response({"name": model, "unload": True})


@bp.post("/v2/models/<model>/infer")
@bp.post("/v2/models/<model>/versions/<version>/infer")
@needs(Scope.PREDICT)
def infer(model: str, version: str | None = None) -> Response:
    """Predict tensors, images or texts.

    Tensors are JSON or binary data, encoded images and texts are elements of type BYTES.
    """
    protocol = OpenInferenceProtocol(services())
    call = protocol.make_call(model, version, request.environ)
    return answer_call(protocol, call)


def _list_visible(loaded: list[Servable]) -> list[Servable]:
    """Return the versions whose models the caller sees."""
    with services().sessions() as session:
        names = set(session.scalars(select(Model.name).where(Model.name.in_({one.model for one in loaded}))))
    return [one for one in loaded if one.model in names]


def _get_version(model: str, version: str | None) -> Version:
    """Look up a version without loading it. Raises ModelNotFound or VersionNotFound."""
    with services().sessions() as session:
        if version is None:
            return versions.get_served_version(session, model)
        return versions.get_version(session, model, version)


def _find_version(model: str, version: str | None) -> Version | None:
    """Return a version as `_get_version` does; None if it does not exist, or the database is unreachable."""
    try:
        return _get_version(model, version)
    except (ModelNotFound, VersionNotFound, *DATABASE_ERRORS):
        return None


def _format_index_row(version: Version) -> dict[str, str]:
    cache = services().model_cache
    reason = cache.get_failure(version.id) or ("unloaded" if cache.is_unloaded(version.id) else "")
    state = "UNAVAILABLE" if reason else READY
    return {"name": version.model, "version": version.reference, "state": state, "reason": reason}


def _describe_input(servable: Servable, tensor: TensorSignature) -> dict[str, Any]:
    if isinstance(servable.manifest.preprocessing, TextContract):
        return {"name": tensor.name, "datatype": BYTES, "shape": [-1]}
    return {"name": tensor.name, "datatype": "FP32", "shape": tensor.shape}


def _describe_inputs(servable: Servable) -> dict[str, Any]:
    """Describe what else than the network's input can be sent: encoded images and pixels, or the columns of a table.

    The version itself scales rows and pixels, and converts texts.
    """
    contract = servable.manifest.preprocessing
    if isinstance(contract, TextContract):
        indices = {"datatype": "FP32", "shape": [-1, *contract.input_shape]}
        return {"scaled_by": "version", "columns": servable.manifest.columns, "word_indices": indices}
    if isinstance(contract, NumbersContract):
        return {"scaled_by": "version", "columns": servable.manifest.columns}
    return {
        "scaled_by": "version",
        "images": {"datatype": BYTES, "shape": [-1], "parameters": {"content_type": "base64"}},
        "pixels": {"datatype": "UINT8", "shape": [-1, -1, -1, contract.input_shape[-1]]},
    }


def _format_statistics(model: str, version: str, statistics: InferenceStatistics) -> dict[str, Any]:
    duration = {"count": statistics.requests, "ns": statistics.nanoseconds}
    nothing = {"count": 0, "ns": 0}
    return {
        "name": model,
        "version": version,
        "last_inference": statistics.last_milliseconds,
        "inference_count": statistics.inputs,
        "execution_count": statistics.requests,
        "inference_stats": {
            "success": duration,
            "fail": nothing,
            "queue": nothing,
            "compute_input": nothing,
            "compute_infer": duration,
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }
