"""Predict tensors, encoded images and texts for the protocols of other systems, and write JSON."""

import math
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np
import orjson
from flask import Response
from numpy.typing import NDArray

from api.protocols.call import JSON, VERSION_HEADER
from api.serving.predictor import PredictionOutputs, Predictor
from shared.datasets.encodings import encode_rows
from shared.errors import InvalidRequest, RequestTooLarge, ServiceError
from shared.inference.arrays import REAL_TYPES, to_array
from shared.inference.inputs import ImageInput, NumbersInput, TextInput, are_indices, decode_base64
from shared.inference.meaning import Meaning, find_meaning
from shared.inference.servable import Servable
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.pixels import WHITE
from shared.preprocessing.text import TextContract

INPUT_HEADER = "Trainyard-Input"
MAX_INPUT_NUMBERS = 2**23
"""The most numbers in a tensor. As float32 they take 32 MiB, four times as much as binary data of one byte each."""
IMAGE_RANK = 3
"""Dimensions of images without channels: (n, height, width)."""
MAX_INPUTS = 10_000
"""The most texts, or images as pixels, in a request. Each takes some time of Python."""
MAX_OUTPUT_NUMBERS = 250_000
"""The most numbers in a response. To format them as JSON takes time in which no other thread can answer."""


class Predicted(NamedTuple):
    """The outputs of a request, (n, outputs) float32, and the headers that tell what its numbers were."""

    values: NDArray[np.float32]
    headers: tuple[tuple[str, str], ...] = ()


def predict_numbers(
    predictor: Predictor,
    servable: Servable,
    values: Any,  # noqa: ANN401 - nested lists, or an array
    meaning: Meaning | None = None,
) -> Predicted:
    """Predict nested lists or an array of numbers, (n, …): rows of a table, or images. Lists of strings are texts.

    A row of a table is as the user has it, and the contract of the version is applied to it. `meaning` tells what the
    numbers of images are; None to decide it by their values. Numbers for a version of texts are word indices.

    Raises InvalidRequest, which names the expected shape; RequestTooLarge for more than MAX_INPUT_NUMBERS, or if the
    outputs would be more than MAX_OUTPUT_NUMBERS; or Overloaded.
    """
    contract = servable.manifest.preprocessing
    if isinstance(contract, TextContract):
        return _predict_texts_or_indices(predictor, servable, contract, values)
    if isinstance(contract, NumbersContract) and contract.columns and isinstance(values, list):
        try:
            values = encode_rows(values, contract.columns)
        except ValueError as error:
            raise InvalidRequest(f"The rows cannot be read: {error}.") from None
    array = _read_tensor(values, servable)
    if isinstance(contract, NumbersContract):
        return Predicted(predictor.run(servable, contract.normalisation.apply(_shape_rows(array, servable))))
    if meaning is None:
        meaning = find_meaning([array], (len(array), *contract.input_shape))
    headers = (make_meaning_header(meaning),)
    if meaning is Meaning.NETWORK:
        return Predicted(predictor.run(servable, _shape_rows(array, servable)), headers)
    inputs = [NumbersInput(f"image {index}", image) for index, image in enumerate(_to_pixels(array, servable))]
    return Predicted(_raise_first(predictor.predict(servable, inputs)), headers)


def _predict_texts_or_indices(
    predictor: Predictor,
    servable: Servable,
    contract: TextContract,
    values: Any,  # noqa: ANN401 - nested lists, or an array
) -> Predicted:
    if isinstance(values, list) and (texts := find_texts(values)) is not None:
        return predict_texts(predictor, servable, texts)
    indices = _shape_rows(_read_tensor(values, servable), servable)
    if not are_indices(indices, contract):
        raise InvalidRequest(f"The tensor has other numbers than word indices. {describe_expected_input(servable)}.")
    return Predicted(predictor.run(servable, indices))


def find_texts(values: list[Any]) -> list[str] | None:
    """Return the texts of a list of strings, or of rows with one string each. Returns None for anything else."""
    cells = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    return cells if cells and all(isinstance(cell, str) for cell in cells) else None


def predict_texts(predictor: Predictor, servable: Servable, texts: Sequence[str]) -> Predicted:
    """Predict texts.

    Raises RequestTooLarge for more than MAX_INPUTS; Overloaded; or the error of the first text that cannot be read.
    """
    _check_count(len(texts), "texts")
    inputs = [TextInput(f"text {index}", text) for index, text in enumerate(texts)]
    return Predicted(_raise_first(predictor.predict(servable, inputs)))


def _check_count(count: int, what: str) -> None:
    """Check the number of inputs that take time of Python. Raises RequestTooLarge."""
    if count > MAX_INPUTS:
        raise RequestTooLarge(
            f"The request has {count:,} {what}; the limit is {MAX_INPUTS:,}. Send fewer in a request, or a batch "
            "prediction."
        )


def make_meaning_header(meaning: Meaning) -> tuple[str, str]:
    """Return the header that tells what the numbers of the request's images were."""
    return INPUT_HEADER, str(meaning)


def _read_tensor(values: Any, servable: Servable) -> NDArray[Any]:  # noqa: ANN401 - nested lists, or an array
    """Convert to an array of at least one dimension and one row: of its own type if `values` is one, else float64.

    Raises InvalidRequest or RequestTooLarge.
    """
    expected = describe_expected_input(servable)
    if isinstance(values, np.ndarray) and values.size > MAX_INPUT_NUMBERS:
        raise RequestTooLarge(
            f"The tensor has {values.size:,} numbers; the limit is {MAX_INPUT_NUMBERS:,}. Send fewer inputs in a "
            "request, or a batch prediction."
        )
    try:
        array = values if isinstance(values, np.ndarray) else to_array(values, REAL_TYPES | {bool}, np.float64)
    except ValueError as error:
        raise InvalidRequest(f"The input is not a tensor of numbers: {error}. {expected}.") from None
    if array.ndim == 0:
        raise InvalidRequest(f"The tensor has the shape []. {expected}.")
    if len(array) == 0:
        raise InvalidRequest(f"The tensor is empty. {expected}.")
    outputs = len(array) * math.prod(servable.manifest.signature.outputs[0].shape[1:])
    if outputs > MAX_OUTPUT_NUMBERS:
        raise RequestTooLarge(
            f"The response would have {outputs:,} numbers; the limit is {MAX_OUTPUT_NUMBERS:,}. Send fewer inputs in a "
            "request, or a batch prediction."
        )
    return array


def _shape_rows(array: NDArray[Any], servable: Servable) -> NDArray[np.float32]:
    """Return the array as (n, *input_shape) float32. A flat list is accepted if the network takes one number.

    Raises InvalidRequest for another shape.
    """
    shape = servable.manifest.preprocessing.input_shape
    if array.ndim == 1 and shape == (1,):
        array = array[:, np.newaxis]
    if array.shape[1:] != shape:
        raise InvalidRequest(f"The tensor has the shape {list(array.shape)}. {describe_expected_input(servable)}.")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _to_pixels(array: NDArray[Any], servable: Servable) -> NDArray[np.uint8]:
    """Return whole numbers as pixels, (n, height, width) or (n, height, width, channels).

    Raises InvalidRequest for another shape and for numbers below 0 or above 255, or RequestTooLarge for more than
    MAX_INPUTS.
    """
    _check_count(len(array), "images")
    if array.ndim not in (IMAGE_RANK, IMAGE_RANK + 1) or array.size == 0:
        raise InvalidRequest(f"The tensor has the shape {list(array.shape)}. {describe_expected_input(servable)}.")
    if array.dtype != np.uint8 and (array.min() < 0 or array.max() > WHITE):
        raise InvalidRequest(
            f"Pixels are whole numbers from 0 to 255, and these lie between {array.min():g} and {array.max():g}. "
            f"{describe_expected_input(servable)}."
        )
    return array.astype(np.uint8, copy=False)


def describe_expected_input(servable: Servable) -> str:
    """Describe the tensor that a version takes, for an error message. The text has no full stop."""
    contract = servable.manifest.preprocessing
    tensor = f"Version {servable.name} takes float32 of shape {[-1, *contract.input_shape]}"
    if isinstance(contract, TextContract):
        return f"Version {servable.name} takes texts, or their word indices of shape {[-1, *contract.input_shape]}"
    if isinstance(contract, NumbersContract):
        return tensor
    return f"{tensor}, or pixels as whole numbers from 0 to 255 (UINT8) of any size"


def transpose_columns(values: list[Any]) -> list[Any] | NDArray[Any]:
    """Convert columns to rows. Raises InvalidRequest if the columns are not lists of the same length."""
    if all(isinstance(column, np.ndarray) for column in values) and len({len(column) for column in values}) == 1:
        return np.stack(values, axis=1)
    values = [column.tolist() if isinstance(column, np.ndarray) else column for column in values]
    if not all(isinstance(column, list) and len(column) == len(values[0]) for column in values):
        raise InvalidRequest("The columns must be lists of the same length.")
    return [list(row) for row in zip(*values, strict=True)]


def images_from_base64(texts: Iterable[object], servable: Servable) -> list[bytes]:
    """Decode images, or texts in UTF-8, from base64. Raises InvalidImage, which names the index of the image."""
    return [decode_base64(text, f"{_name_input(servable)} {index}") for index, text in enumerate(texts)]


def predict_images(predictor: Predictor, servable: Servable, images: Iterable[bytes]) -> Predicted:
    """Predict encoded images, or the bytes of texts.

    Raises Overloaded, or the error of the first image that cannot be read: these protocols cannot return an error for
    one image and predictions for the others.
    """
    name = _name_input(servable)
    inputs = [ImageInput(f"{name} {index}", image) for index, image in enumerate(images)]
    return Predicted(_raise_first(predictor.predict(servable, inputs)))


def _name_input(servable: Servable) -> str:
    return "text" if isinstance(servable.manifest.preprocessing, TextContract) else "image"


def _raise_first(outputs: PredictionOutputs) -> NDArray[np.float32]:
    """Return the outputs of all inputs. Raises the error of the first input that cannot be read."""
    for found in outputs.read:
        if isinstance(found, ServiceError):
            raise found
    return outputs.values


def dump_json(document: object) -> bytes:
    """Format JSON. A float32 has the fewest digits that identify it."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def make_json_response(
    document: object, servable: Servable | None = None, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """Make a response of JSON. The header `Trainyard-Version` names `servable`; None for no header."""
    headers = {VERSION_HEADER: servable.name} if servable is not None else None
    return Response(dump_json(document), status=status, headers=headers, content_type=JSON)
