"""Answer the image and text classification requests of Hugging Face's client."""

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from api.access.needs import needs
from api.http.reading.body_reader import BodyReader
from api.protocols.base import answer_call, make_error_reply, to_flask_response
from api.protocols.call import JSON, Reply
from api.protocols.mlflow import MlflowCall, MlflowProtocol, split_model_name
from api.protocols.tensors import dump_json, find_texts
from api.services import Services, services
from api.serving.predictor import format_predictions
from shared.access.rights import Scope
from shared.errors import InvalidRequest, MalformedRequest, ServiceError
from shared.inference.inputs import ImageInput, Input, TextInput, decode_base64
from shared.inference.predictions import PredictionDict
from shared.inference.servable import Servable
from shared.preprocessing.text import TextContract

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "hugging-face"
MAX_TEXTS = 1000
MAX_LABELS = 1000
"""Number of labels in a response without `top_k`."""

bp = Blueprint("hugging_face", __name__)


class HuggingFaceProtocol:
    """The format of Hugging Face's client.

    A request is an image as the body, or `{"inputs": …}` with base64, or with a text for a version of texts. The
    response is `[{"label": …, "score": …}]`, with the highest score first. Of a text, it is a list of one such list.
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
        """Classify one image, or one or several texts. Raises ServiceError."""
        is_text = isinstance(servable.manifest.preprocessing, TextContract)
        parse = _parse_texts if is_text else _parse_image
        inputs, top = parse(self._services.bodies, call.content_type, body)
        outputs = self._services.predictor.predict(servable, inputs)
        for found in outputs.read:
            if isinstance(found, ServiceError):
                raise found
        answers = [
            _rank(servable, prediction, top) for prediction in format_predictions(outputs, servable.manifest, top)
        ]
        return Reply(dump_json(answers if is_text else answers[0]))

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as MLflow does, because Hugging Face documents no format."""
        return MlflowProtocol.error(error)


def _rank(servable: Servable, prediction: PredictionDict, top: int) -> list[dict[str, Any]]:
    """Return the `top` labels with their scores. Raises InvalidRequest for a version without classes."""
    ranked = prediction.get("top", prediction.get("probabilities", [])[:top])
    if not ranked:
        raise InvalidRequest(
            f"Version {servable.name} predicts numbers and has no classes. Use /models/{servable.model}/invocations."
        )
    return [{"label": best["label"], "score": best["probability"]} for best in ranked]


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(make_error_reply(HuggingFaceProtocol.error, error))


@bp.post("/models/<name>")
@needs(Scope.PREDICT)
def classify(name: str) -> Response:
    """Classify an image or texts.

    The body is the image, or `{"inputs": …}` with base64; for a version of texts, a text or a list of texts. `name` is
    `model`, `model@alias` or `model@3`.
    """
    protocol = HuggingFaceProtocol(services())
    call = protocol.make_call(name, request.headers.get("Content-Type", ""))
    return answer_call(protocol, call)


def _parse_image(reader: BodyReader, content_type: str, body: bytes) -> tuple[list[Input], int]:
    """Return the image and the number of labels to return. Raises MalformedRequest, InvalidRequest or InvalidImage."""
    if not _is_json(content_type):
        return [ImageInput("the image", body)], MAX_LABELS
    given, top = _parse_document(reader, body, "<base64>")
    return [ImageInput("the image", decode_base64(given, "the image"))], top


def _parse_texts(reader: BodyReader, content_type: str, body: bytes) -> tuple[list[Input], int]:
    """Return the texts and the number of labels to return. Raises MalformedRequest or InvalidRequest."""
    if not _is_json(content_type):
        return [ImageInput("the text", body)], MAX_LABELS
    given, top = _parse_document(reader, body, "a text")
    texts = find_texts(given if isinstance(given, list) else [given])
    if texts is None or len(texts) > MAX_TEXTS:
        raise InvalidRequest(f"`inputs` must be a text, or a list of 1 to {MAX_TEXTS:,} texts.")
    return [TextInput(f"text {index}", text) for index, text in enumerate(texts)], top


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == JSON


def _parse_document(reader: BodyReader, body: bytes, wanted: str) -> tuple[object, int]:
    """Return `inputs` and `top_k`. Raises MalformedRequest or InvalidRequest."""
    try:
        document = reader.read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(document, dict) or "inputs" not in document:
        raise InvalidRequest(f'The body must be {{"inputs": "{wanted}"}}, or the input with its own Content-Type.')
    parameters = document.get("parameters") or {}
    top = parameters.get("top_k", MAX_LABELS) if isinstance(parameters, dict) else None
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidRequest("`parameters` must be an object, and its `top_k` an integer of at least 1.")
    return document["inputs"], top
