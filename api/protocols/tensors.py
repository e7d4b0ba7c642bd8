"""What other systems send and want: the network's input as it stands, encoded images, and answers in JSON."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
from flask import Response
from numpy.typing import NDArray

from api.protocols.call import JSON, VERSION_HEADER
from api.serving.predictor import Predictor
from shared.errors import InvalidRequest, ServiceError
from shared.inference.inputs import REAL_TYPES, ImageInput, decode_base64, to_array
from shared.inference.servable import Servable


def to_network_input(values: Any, servable: Servable) -> NDArray[np.float32]:  # noqa: ANN401 - nested lists, or an array
    """(n, …) float32 as the network takes it. Raises InvalidRequest, with the shape that is expected."""
    shape, expected = servable.manifest.preprocessing.input_shape, describe_expected_input(servable)
    try:
        rows = to_array(values, REAL_TYPES | {bool}, np.float32)
    except ValueError as error:
        raise InvalidRequest(f"Not a tensor of numbers ({error}): {expected}.") from None
    if rows.ndim == 1 and shape == (1,):
        rows = rows[:, np.newaxis]
    if rows.ndim == 0 or rows.shape[1:] != shape:
        raise InvalidRequest(f"The tensor has the shape {list(rows.shape)}: {expected}.")
    if len(rows) == 0:
        raise InvalidRequest(f"The tensor is empty: {expected}.")
    return rows


def describe_expected_input(servable: Servable) -> str:
    return f"{servable.name} takes float32 of shape {[-1, *servable.manifest.preprocessing.input_shape]}"


def read_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """NaN and Infinity may stand in it. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(body)
    except ValueError:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair could not be said again
        return document


def images_from_base64(texts: Iterable[object]) -> list[bytes]:
    """Raises InvalidImage."""
    return [decode_base64(text, f"image {index}") for index, text in enumerate(texts)]


def predict_images(predictor: Predictor, servable: Servable, images: Iterable[bytes]) -> NDArray[np.float32]:
    """(n, outputs). These protocols have no room for one that failed among others: raises its error."""
    inputs = [ImageInput(f"image {index}", image) for index, image in enumerate(images)]
    outputs = predictor.predict(servable, inputs)
    for found in outputs.read:
        if isinstance(found, ServiceError):
            raise found
    return outputs.values


def predict_numbers(predictor: Predictor, servable: Servable, values: Any) -> NDArray[np.float32]:  # noqa: ANN401
    """(n, outputs). Raises InvalidRequest."""
    return predictor.run(servable, to_network_input(values, servable))


def dump_json(document: object) -> bytes:
    """JSON, numbers of float32 as short as they can be told apart."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def make_json_response(
    document: object, servable: Servable | None = None, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    headers = {VERSION_HEADER: servable.name} if servable is not None else None
    return Response(dump_json(document), status=status, headers=headers, content_type=JSON)
