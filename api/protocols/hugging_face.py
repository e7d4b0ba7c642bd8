"""Answer the image classification requests of Hugging Face's client."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from api.http.reading.body_reader import BodyReader
from api.protocols.base import answer_call, make_error_reply, to_flask_response
from api.protocols.call import JSON, Reply
from api.protocols.mlflow import MlflowCall, MlflowProtocol, split_model_name
from api.protocols.tensors import dump_json
from api.services import Services, services
from api.serving.predictor import format_predictions
from shared.errors import InvalidRequest, MalformedRequest, ServiceError
from shared.inference.inputs import ImageInput, decode_base64
from shared.inference.servable import Servable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "hugging-face"
MAX_LABELS = 1000
"""Number of labels in a response without `top_k`."""

bp = Blueprint("hugging_face", __name__)


class HuggingFaceProtocol:
    """The format of Hugging Face's client.

    A request is an image as the body, or `{"inputs": base64}`. The response is `[{"label": …, "score": …}]`, with the
    highest score first.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> MlflowCall | None:
        """Parse a request. Returns None for another path."""
        match environ["PATH_INFO"].split("/"):
            case ["", "models", name]:
                return self.make_call(name, environ.get("CONTENT_TYPE", ""))
        return None

    def make_call(self, name: str, content_type: str) -> MlflowCall:
        """Build the call. `name` is `model`, `model@alias` or `model@3`; `content_type` is the unparsed header."""
        return MlflowCall(ROUTE, *split_model_name(name), self._services.max_request_bytes, content_type)

    def answer(self, call: MlflowCall, servable: Servable, body: bytes) -> Reply:
        """Classify one image. Raises ServiceError."""
        image, top = _parse_image(self._services.bodies, call.content_type, body)
        outputs = self._services.predictor.predict(servable, [ImageInput("the image", image)])
        (prediction,) = format_predictions(outputs, servable.manifest, top)
        ranked = prediction.get("top", prediction.get("probabilities", [])[:top])
        if not ranked:
            raise InvalidRequest(
                f"Version {servable.name} predicts numbers and has no classes. "
                f"Use /models/{servable.model}/invocations."
            )
        return Reply(dump_json([{"label": best["label"], "score": best["probability"]} for best in ranked]))

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as MLflow does, because Hugging Face documents no format."""
        return MlflowProtocol.error(error)


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(make_error_reply(HuggingFaceProtocol.error, error))


@bp.post("/models/<name>")
def classify_image(name: str) -> Response:
    """Classify an image.

    The body is the image, or `{"inputs": base64}`. `name` is `model`, `model@alias` or `model@3`.
    """
    protocol = HuggingFaceProtocol(services())
    call = protocol.make_call(name, request.headers.get("Content-Type", ""))
    return answer_call(protocol, call)


def _parse_image(reader: BodyReader, content_type: str, body: bytes) -> tuple[bytes, int]:
    """Return the image and the number of labels to return. Raises MalformedRequest, InvalidRequest or InvalidImage."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        return body, MAX_LABELS
    try:
        document = reader.read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(document, dict) or "inputs" not in document:
        raise InvalidRequest('The body must be {"inputs": "<base64>"}, or an image with its own Content-Type.')
    parameters = document.get("parameters") or {}
    top = parameters.get("top_k", MAX_LABELS) if isinstance(parameters, dict) else None
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidRequest("`parameters` must be an object, and its `top_k` an integer of at least 1.")
    return decode_base64(document["inputs"], "the image"), top
