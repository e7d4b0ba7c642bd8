"""Answer image classification as Hugging Face's client asks for it."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from api.http.bodies import read_body
from api.protocols.base import answer_in_flask, to_flask_response
from api.protocols.call import JSON, Reply
from api.protocols.mlflow import MlflowCall, MlflowProtocol, split_model_name
from api.protocols.tensors import dump_json, read_json
from api.services import Services, services
from api.serving.predictor import format_predictions
from shared.errors import InvalidRequest, MalformedRequest, ServiceError
from shared.inference.inputs import ImageInput, decode_base64
from shared.inference.servable import Servable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "hugging-face"
MAX_LABELS = 1000

bp = Blueprint("hugging_face", __name__)


class HuggingFaceProtocol:
    """An image as the body, or `{"inputs": base64}`, to `[{"label", "score"}]`, the highest score first."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> MlflowCall | None:
        """Return None for another path."""
        match environ["PATH_INFO"].split("/"):
            case ["", "models", name]:
                return self.make_call(name, environ.get("CONTENT_TYPE", ""))
        return None

    def make_call(self, name: str, content_type: str) -> MlflowCall:
        """`name` is `model`, `model@alias` or `model@3`."""
        return MlflowCall(ROUTE, *split_model_name(name), self._services.max_request_bytes, content_type)

    def answer(self, call: MlflowCall, servable: Servable, body: bytes) -> Reply:
        """Classify one image. Raises ServiceError."""
        image, top = _parse_image(call.content_type, body)
        outputs = self._services.predictor.predict(servable, [ImageInput("the image", image)])
        (prediction,) = format_predictions(outputs, servable.manifest, top)
        if "top" not in prediction:
            raise InvalidRequest(f"{servable.name} predicts numbers and has no classes. Use /invocations.")
        return Reply(dump_json([{"label": best["label"], "score": best["probability"]} for best in prediction["top"]]))

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format the error as MLflow does: Hugging Face documents no format."""
        return MlflowProtocol.error(error)


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(HuggingFaceProtocol.error(error))


@bp.post("/models/<name>")
def classify_image(name: str) -> Response:
    """Classify an image: the body, or `{"inputs": base64}`."""
    protocol = HuggingFaceProtocol(services())
    call = protocol.make_call(name, request.headers.get("Content-Type", ""))
    return answer_in_flask(
        ROUTE,
        lambda: services().model_cache.get(call.model, call.reference),
        lambda servable: protocol.answer(call, servable, read_body(call.max_bytes)),
    )


def _parse_image(content_type: str, body: bytes) -> tuple[bytes, int]:
    if content_type.partition(";")[0].strip().lower() != JSON:
        return body, MAX_LABELS
    try:
        document = read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"The body is not JSON: {error}") from None
    if not isinstance(document, dict) or "inputs" not in document:
        raise InvalidRequest('The body is {"inputs": "<base64>"}, or the image itself.')
    parameters = document.get("parameters") or {}
    top = parameters.get("top_k", MAX_LABELS) if isinstance(parameters, dict) else None
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidRequest("`top_k` is how many labels to name.")
    return decode_base64(document["inputs"], "the image"), top
