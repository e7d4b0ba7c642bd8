"""Answer the scoring protocol of MLflow. SageMaker uses the same paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from api.access.needs import needs, open_to_all
from api.http.problems import STATUS
from api.http.reading.body_reader import BodyReader
from api.http.reading.csv_numbers import find_columns
from api.protocols.base import answer_call, make_error_reply, to_flask_response
from api.protocols.call import JSON, PredictionCall, Reply
from api.protocols.parquet import read_parquet
from api.protocols.tensors import (
    Predicted,
    dump_json,
    images_from_base64,
    predict_images,
    predict_numbers,
    transpose_columns,
)
from api.services import Services, services
from shared.access.rights import Scope
from shared.errors import InvalidRequest, MalformedRequest, ModelNotFound, ServiceError, UnsupportedContent
from shared.inference.inputs import order_row
from shared.inference.servable import Servable
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.text import TextContract

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "mlflow"
FIELDS = ("dataframe_split", "dataframe_records", "instances", "inputs")
CSV = "text/csv"
PARQUET = ("application/vnd.apache.parquet", "application/x-parquet")
IMAGES = ("image/", "application/x-image")
"""Prefixes of the media types whose body is one image. SageMaker uses them; MLflow does not."""
TYPES = f"Types: ['{JSON}', '{CSV}', '{PARQUET[0]}', 'image/jpeg', 'image/png', 'application/x-image']"

bp = Blueprint("mlflow", __name__)


@dataclass(frozen=True, slots=True)
class MlflowCall(PredictionCall):
    """A request without its body. `content_type` is the unparsed header; empty without it."""

    content_type: str


class MlflowProtocol:
    """The scoring protocol of MLflow: data frames, tensors and images are answered with `{"predictions": […]}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> MlflowCall | None:
        """Parse a request. Returns None for another path, and for /invocations without a default model."""
        match environ["PATH_INFO"].split("/"):
            case ["", "invocations"] if self._services.default_model is not None:
                return self.make_call(self._services.default_model, environ.get("CONTENT_TYPE", ""))
            case ["", "models", name, "invocations"]:
                return self.make_call(name, environ.get("CONTENT_TYPE", ""))
        return None

    def make_call(self, name: str, content_type: str) -> MlflowCall:
        """Build the call. `name` is `model`, `model@alias` or `model@3`; `content_type` is the unparsed header."""
        return MlflowCall(ROUTE, *split_model_name(name), self._services.max_request_bytes, content_type)

    def answer(self, call: MlflowCall, servable: Servable, body: bytes) -> Reply:
        """Parse the body, predict and format the reply. Strings are images in base64, or texts for a version of texts.

        Raises ServiceError.
        """
        predictor = self._services.predictor
        media_type, _, parameters = call.content_type.partition(";")
        media_type, parameters = media_type.strip().lower(), parameters.strip().lower().replace('"', "")
        if media_type.startswith(IMAGES):
            return _format_reply(predict_images(predictor, servable, [body]))
        if media_type not in (JSON, CSV, *PARQUET) or parameters not in ("", "charset=utf-8"):
            got = call.content_type[:100]
            raise UnsupportedContent(f"This predictor only supports the following content types: {TYPES}. Got '{got}'.")
        columns, contract = servable.manifest.columns, servable.manifest.preprocessing
        if isinstance(contract, TextContract):
            return _format_reply(self._predict_texts(servable, body, media_type))
        table = contract if isinstance(contract, NumbersContract) else None
        encodings = table.columns if table is not None else ()
        if media_type in PARQUET:
            rows = _parse_split(read_parquet(body, self._services.max_request_bytes), columns)
        elif media_type == CSV:
            rows = self._services.bodies.read_csv(body, columns, encodings, table.decimal if table is not None else ".")
        else:
            rows = _parse_json(self._services.bodies, body, columns)
        if not encodings and isinstance(rows, list) and rows and all(isinstance(row, str) for row in rows):
            return _format_reply(predict_images(predictor, servable, images_from_base64(rows, servable)))
        return _format_reply(predict_numbers(predictor, servable, rows))

    def _predict_texts(self, servable: Servable, body: bytes, media_type: str) -> Predicted:
        """Predict the texts of a body; numbers are word indices. Raises ServiceError."""
        columns, bodies = servable.manifest.columns, self._services.bodies
        if media_type in PARQUET:
            rows = _parse_split(read_parquet(body, self._services.max_request_bytes), columns)
        elif media_type == CSV:
            rows = bodies.read_text_csv(body, columns)
        else:
            rows = _parse_json(bodies, body, columns)
        if isinstance(rows, np.ndarray) and rows.dtype == object:
            rows = rows.tolist()
        return predict_numbers(self._services.predictor, servable, rows)

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as JSON with `error_code` and `message`; UnsupportedContent as plain text, as in MLflow."""
        if isinstance(error, UnsupportedContent):
            return Reply(error.detail.encode(), "text/plain", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        status = STATUS[type(error)]
        if isinstance(error, MalformedRequest):
            code = {"error_code": "BAD_REQUEST"}
        elif status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            status = HTTPStatus.BAD_REQUEST
            code = {"error_code": "INVALID_PARAMETER_VALUE", "error_class": "SCHEMA_ENFORCEMENT_FAILED"}
        elif status is HTTPStatus.NOT_FOUND:
            code = {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        elif status is HTTPStatus.SERVICE_UNAVAILABLE:
            code = {"error_code": "TEMPORARILY_UNAVAILABLE"}
        elif status is HTTPStatus.UNAUTHORIZED:
            code = {"error_code": "UNAUTHENTICATED"}
        elif status is HTTPStatus.FORBIDDEN:
            code = {"error_code": "PERMISSION_DENIED"}
        else:
            code = {"error_code": "INTERNAL_ERROR"}
        return Reply(dump_json({**code, "message": error.detail}), status=status)


@bp.errorhandler(ServiceError)
def answer_error(error: ServiceError) -> Response:
    return to_flask_response(make_error_reply(MlflowProtocol.error, error))


@bp.get("/ping")
@bp.get("/health")
@open_to_all
def show_health() -> Response:
    """Report that the server is alive.

    This is the health check of MLflow and SageMaker.
    """
    return Response("\n", content_type=JSON)


@bp.get("/version")
@needs(Scope.PREDICT)
def show_version() -> Response:
    """Show the version of ONNX Runtime.

    MLflow shows its own version here. ONNX Runtime computes the predictions of Trainyard.
    """
    return Response(version("onnxruntime"), content_type="text/plain")


@bp.post("/invocations")
@needs(Scope.PREDICT)
def invoke_default() -> Response:
    """Predict with the default model.

    TRAINYARD_DEFAULT_MODEL names it.
    """
    name = services().default_model
    if name is None:
        raise ModelNotFound(
            "No default model is set. Set TRAINYARD_DEFAULT_MODEL, or POST /models/<model>/invocations."
        )
    return _invoke(name)


@bp.post("/models/<name>/invocations")
@needs(Scope.PREDICT)
def invoke(name: str) -> Response:
    """Predict with a model.

    `name` is `model`, `model@alias` or `model@3`.
    """
    return _invoke(name)


def split_model_name(name: str) -> tuple[str, str | None]:
    """Split `model@reference` into model and reference. The reference is None without `@`."""
    model, separator, reference = name.partition("@")
    return model, reference if separator else None


def _invoke(name: str) -> Response:
    protocol = MlflowProtocol(services())
    call = protocol.make_call(name, request.headers.get("Content-Type", ""))
    return answer_call(protocol, call)


def _format_reply(outputs: Predicted) -> Reply:
    return Reply(dump_json({"predictions": outputs.values}), headers=outputs.headers)


def _parse_json(reader: BodyReader, body: bytes, columns: Sequence[str]) -> list[Any] | NDArray[Any]:
    """Parse rows of numbers, tensors, or images in base64 from JSON.

    Raises MalformedRequest, InvalidRequest, RequestTooLarge or Overloaded.
    """
    field, value = _parse_field(reader, body)
    match field:
        case "dataframe_split":
            return _parse_split(value, columns)
        case "dataframe_records":
            return _parse_records(value, columns)
    if isinstance(value, dict) and columns and set(columns) <= set(value):
        return transpose_columns([value[name] for name in columns])
    if isinstance(value, dict):
        if len(value) != 1:
            raise InvalidRequest(f"The network has one input. `{field}` has {sorted(value)[:20]}.")
        (value,) = value.values()
    if isinstance(value, str):
        return [value]
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list):
        raise InvalidRequest(f"`{field}` must be a list with one entry for each input.")
    return [_unwrap_instance(entry, columns, index) for index, entry in enumerate(value)]


def _parse_field(reader: BodyReader, body: bytes) -> tuple[str, Any]:
    """Return the name and the value of the one field of FIELDS in the body. Other keys are ignored, as in MLflow.

    Raises MalformedRequest.
    """
    try:
        document = reader.read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"Invalid input. Ensure that input is a valid JSON formatted string: {error}") from None
    if not isinstance(document, dict):
        raise MalformedRequest("Invalid input. The input must be a JSON dictionary.")
    given = [name for name in FIELDS if name in document]
    if len(given) != 1:
        raise MalformedRequest(
            f"The input must be a JSON dictionary with exactly one of the input fields {set(FIELDS)}. "
            f"Received dictionary with input fields: {sorted(document)[:20]}."
        )
    return given[0], document[given[0]]


def _unwrap_instance(entry: Any, columns: Sequence[str], index: int) -> Any:  # noqa: ANN401 - JSON
    """Return an instance without its objects of one key: clients of Vertex AI send `{"b64": …}` or `{"input": …}`.

    A row of a table can be an object with the names of its columns. Raises InvalidRequest if one is missing.
    """
    if columns and isinstance(entry, dict) and (len(entry) > 1 or set(columns) <= set(entry)):
        return order_row(entry, columns, f"row {index}")
    while isinstance(entry, dict) and len(entry) == 1:
        (entry,) = entry.values()
    return entry


def _reorder_columns(
    rows: list[list[Any]] | NDArray[Any], names: list[Any], columns: Sequence[str]
) -> list[list[Any]] | NDArray[Any]:
    """Select the columns of the version by name, in its order. Rows without names stay unchanged.

    `columns` are the names of the version's columns; empty without names. Raises InvalidRequest for a missing column.
    """
    if any(not isinstance(row, list | np.ndarray) or len(row) != len(names) for row in rows):
        return rows
    indices = find_columns(names, columns)
    if indices is None:
        return rows
    if isinstance(rows, np.ndarray):
        return rows[:, indices]
    return [[row[index] for index in indices] for row in rows]


def _parse_split(value: object, columns: Sequence[str]) -> list[Any] | NDArray[Any]:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list | np.ndarray):
        raise InvalidRequest('`dataframe_split` must be {"columns": […], "data": [[…], …]}.')
    names = value.get("columns")
    rows = _reorder_columns(value["data"], names if isinstance(names, list) else [], columns)
    return rows if isinstance(rows, np.ndarray) else [_unwrap_row(row) for row in rows]


def _parse_records(value: object, columns: Sequence[str]) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
        raise InvalidRequest("`dataframe_records` must be a list of objects, one for each row.")
    if len({tuple(record) for record in value}) > 1:
        raise InvalidRequest("The records of `dataframe_records` must have the same columns in the same order.")
    rows = [list(record.values()) for record in value]
    return [_unwrap_row(row) for row in _reorder_columns(rows, list(value[0]) if value else [], columns)]


def _unwrap_row(row: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the string of a row with a single string, an image in base64 or a text. Other rows stay unchanged."""
    return row[0] if isinstance(row, list) and len(row) == 1 and isinstance(row[0], str) else row
