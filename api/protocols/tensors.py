"""Predict tensors and encoded images for the protocols of other systems, and write JSON."""

import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
from flask import Response
from numpy.typing import NDArray

from api.protocols.call import JSON, VERSION_HEADER
from api.serving.predictor import Predictor
from shared.errors import InvalidRequest, RequestTooLarge, ServiceError
from shared.inference.inputs import REAL_TYPES, ImageInput, decode_base64, to_array
from shared.inference.servable import Servable

MAX_INPUT_NUMBERS = 2**23
"""The most numbers in a tensor. As float32 they take 32 MiB, four times as much as binary data of one byte each."""
MAX_OUTPUT_NUMBERS = 250_000
"""The most numbers in a response. To format them as JSON takes time in which no other thread can answer."""


def to_network_input(values: Any, servable: Servable) -> NDArray[np.float32]:  # noqa: ANN401 - nested lists, or an array
    """Convert nested lists or an array to the network's input, (n, *input_shape) float32, without preprocessing.

    A flat list is also accepted if the network takes one number. Raises InvalidRequest, which names the expected shape,
    or RequestTooLarge for more than MAX_INPUT_NUMBERS, or if the outputs would be more than MAX_OUTPUT_NUMBERS.
    """
    shape, expected = servable.manifest.preprocessing.input_shape, describe_expected_input(servable)
    if isinstance(values, np.ndarray) and values.size > MAX_INPUT_NUMBERS:
        raise RequestTooLarge(
            f"The tensor has {values.size:,} numbers; the limit is {MAX_INPUT_NUMBERS:,}. Send fewer inputs in a "
            "request, or a batch prediction."
        )
    try:
        rows = to_array(values, REAL_TYPES | {bool}, np.float32)
    except ValueError as error:
        raise InvalidRequest(f"The input is not a tensor of numbers: {error}. {expected}.") from None
    if rows.ndim == 1 and shape == (1,):
        rows = rows[:, np.newaxis]
    if rows.ndim == 0 or rows.shape[1:] != shape:
        raise InvalidRequest(f"The tensor has the shape {list(rows.shape)}. {expected}.")
    if len(rows) == 0:
        raise InvalidRequest(f"The tensor is empty. {expected}.")
    outputs = len(rows) * math.prod(servable.manifest.signature.outputs[0].shape[1:])
    if outputs > MAX_OUTPUT_NUMBERS:
        raise RequestTooLarge(
            f"The response would have {outputs:,} numbers; the limit is {MAX_OUTPUT_NUMBERS:,}. Send fewer inputs in a "
            "request, or a batch prediction."
        )
    return rows


def describe_expected_input(servable: Servable) -> str:
    """Describe the tensor that a version takes, for an error message. The text has no full stop."""
    return f"Version {servable.name} takes float32 of shape {[-1, *servable.manifest.preprocessing.input_shape]}"


def images_from_base64(texts: Iterable[object]) -> list[bytes]:
    """Decode images from base64. Raises InvalidImage, which names the index of the image."""
    return [decode_base64(text, f"image {index}") for index, text in enumerate(texts)]


def predict_images(predictor: Predictor, servable: Servable, images: Iterable[bytes]) -> NDArray[np.float32]:
    """Predict encoded images. Returns (n, outputs) float32.

    Raises Overloaded, or the error of the first image that cannot be read: these protocols cannot return an error for
    one image and predictions for the others.
    """
    inputs = [ImageInput(f"image {index}", image) for index, image in enumerate(images)]
    outputs = predictor.predict(servable, inputs)
    for found in outputs.read:
        if isinstance(found, ServiceError):
            raise found
    return outputs.values


def predict_numbers(predictor: Predictor, servable: Servable, values: Any) -> NDArray[np.float32]:  # noqa: ANN401
    """Predict nested lists or an array, without preprocessing. Returns (n, outputs) float32.

    Raises InvalidRequest or Overloaded.
    """
    return predictor.run(servable, to_network_input(values, servable))


def dump_json(document: object) -> bytes:
    """Format JSON. A float32 has the fewest digits that identify it."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def make_json_response(
    document: object, servable: Servable | None = None, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """Make a response of JSON. The header `Trainyard-Version` names `servable`; None for no header."""
    headers = {VERSION_HEADER: servable.name} if servable is not None else None
    return Response(dump_json(document), status=status, headers=headers, content_type=JSON)
