"""Parse and answer the bodies of the Open Inference Protocol v2.

Includes Triton's extensions for binary tensor data and classification. With binary data, the tensors follow the JSON.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from api.http.bodies import parse_length
from api.http.reading.body_reader import BodyReader
from api.protocols.call import PredictionCall, Reply
from api.protocols.decompression import decompress
from api.protocols.tensors import (
    Predicted,
    describe_expected_input,
    dump_json,
    images_from_base64,
    predict_images,
    predict_numbers,
    predict_texts,
)
from api.services import Services
from api.serving.predictor import Predictor
from shared.datasets.encodings import read_cell
from shared.errors import InvalidRequest, MalformedRequest
from shared.inference.arrays import REAL_TYPES, to_array
from shared.inference.meaning import Meaning
from shared.inference.servable import Servable
from shared.preprocessing.contract import ImageContract, NumbersContract
from shared.preprocessing.text import TextContract
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME

JSON_LENGTH = "Inference-Header-Content-Length"
BFLOAT16 = "BF16"
BYTES = "BYTES"
BASE64 = "base64"
MAX_NAMED_COLUMNS = 20
"""The most columns that a message names."""
INTEGER_TYPES = frozenset({int, bool})
"""Types of JSON values that a tensor of integers or booleans accepts."""
TYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""NumPy type for each `datatype` except BF16, which NumPy does not have, and BYTES."""


@dataclass(frozen=True, slots=True)
class OpenInferenceCall(PredictionCall):
    """An inference request without its body.

    Attributes:
        encoding: the Content-Encoding, in lower case; empty if the body is not compressed.
        json_length: the unparsed header with the number of bytes of JSON before the binary tensors. None without the
            header: the whole body is JSON.
    """

    encoding: str
    json_length: str | None


def answer_inference(services: Services, call: OpenInferenceCall, servable: Servable, body: bytes) -> Reply:
    """Parse an inference request, predict and format the reply. Raises ServiceError."""
    document, raw = _read_request(services, call, body)
    wanted = _parse_outputs(document)
    outputs = _compute_outputs(services.predictor, servable, document, raw)
    reply = _format_reply(servable, document, wanted, outputs.values)
    return reply._replace(headers=(*reply.headers, *outputs.headers))


def _read_request(services: Services, call: OpenInferenceCall, body: bytes) -> tuple[dict[str, Any], memoryview]:
    """Split the body. Returns the parsed JSON and the bytes of the binary tensors. Raises ServiceError."""
    body = decompress(body, call.encoding, call.max_bytes, services.clients)
    if call.json_length is None:
        return read_object(services.bodies, body), memoryview(b"")
    length = parse_length(call.json_length)
    if length is None or length > len(body):
        raise MalformedRequest(
            f"{JSON_LENGTH} is {call.json_length[:20]!r}. It must be the number of bytes of the JSON; "
            f"the body has {len(body)}."
        )
    return read_object(services.bodies, body[:length]), memoryview(body)[length:]


def read_object(reader: BodyReader, body: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises MalformedRequest, RequestTooLarge or Overloaded."""
    try:
        document = reader.read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"failed to parse the request JSON buffer: {error}") from None
    if not isinstance(document, dict):
        raise MalformedRequest("the request JSON is not an object")
    return document


def _parse_outputs(document: dict[str, Any]) -> tuple[int, bool]:
    """Parse `outputs`. Raises InvalidRequest.

    Returns:
        The number of classes to return, 0 to return the outputs of the network; and whether to return binary data.
    """
    outputs = document.get("outputs") or [{"name": OUTPUT_NAME}]
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise InvalidRequest(f"`outputs` must be a list of one object, for the output {OUTPUT_NAME!r}.")
    if outputs[0].get("name") != OUTPUT_NAME:
        raise InvalidRequest(
            f"unexpected inference output {str(outputs[0].get('name'))[:100]!r}, the output is named {OUTPUT_NAME!r}"
        )
    parameters = outputs[0].get("parameters") or {}
    request_parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict) or not isinstance(request_parameters, dict):
        raise InvalidRequest("`parameters` must be an object.")
    classes = parameters.get("classification", 0)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise InvalidRequest("`classification` must be the number of classes to return, an integer of at least 0.")
    return classes, bool(parameters.get("binary_data", request_parameters.get("binary_data_output", False)))


def _compute_outputs(predictor: Predictor, servable: Servable, document: dict[str, Any], raw: memoryview) -> Predicted:
    """Predict the one tensor of `inputs`, or a table whose columns are the inputs. Raises ServiceError."""
    inputs, columns = document.get("inputs"), servable.manifest.columns
    if not isinstance(inputs, list) or not inputs or not all(isinstance(given, dict) for given in inputs):
        raise InvalidRequest(f"`inputs` must be a list of one object, for the input {INPUT_NAME!r}.")
    names = [given.get("name") for given in inputs]
    contract = servable.manifest.preprocessing
    if isinstance(contract, TextContract):
        if len(names) == 1 and names[0] in (INPUT_NAME, *columns):
            return _compute_text_outputs(predictor, servable, inputs[0], raw)
        columns = ()
    if columns and set(columns) <= {name for name in names if isinstance(name, str)}:
        return predict_numbers(predictor, servable, _read_columns(inputs, servable, raw))
    if names != [INPUT_NAME]:
        named = f"the input is named {INPUT_NAME!r}" + (
            f"; or send each column as an input: {', '.join(columns[:MAX_NAMED_COLUMNS])}" if columns else ""
        )
        unexpected = f"input {str(names[0])[:100]!r}" if len(names) == 1 else f"inputs {str(names)[:200]}"
        raise InvalidRequest(f"unexpected inference {unexpected}, {named}")
    (given,) = inputs
    shape, datatype = _parse_type(given)
    if datatype == BYTES and isinstance(contract, NumbersContract):
        return predict_numbers(predictor, servable, _read_text_rows(given, shape, contract, raw))
    if datatype == BYTES:
        return predict_images(predictor, servable, _read_elements(given, shape, raw, servable))
    try:
        meaning = _find_meaning(datatype, servable)
        tensor = _parse_tensor(given, shape, datatype, raw)
    except InvalidRequest as error:
        raise InvalidRequest(f"{error.detail} {describe_expected_input(servable)}.") from None
    return predict_numbers(predictor, servable, tensor, meaning)


def _compute_text_outputs(
    predictor: Predictor, servable: Servable, given: dict[str, Any], raw: memoryview
) -> Predicted:
    """Predict texts, elements of type BYTES of the shape [n] or [n, 1], or word indices. Raises ServiceError."""
    shape, datatype = _parse_type(given)
    if datatype != BYTES:
        return predict_numbers(predictor, servable, _parse_tensor(given, shape, datatype, raw))
    texts = _read_texts(given, shape, raw)
    if not texts or shape[:1] != [len(texts)]:
        raise InvalidRequest(f"The texts have the shape {shape}. Send BYTES of the shape [n] or [n, 1].")
    parameters = given.get("parameters")
    if isinstance(parameters, dict) and parameters.get("content_type") == BASE64:
        return predict_images(predictor, servable, images_from_base64(texts, servable))  # they are bytes of UTF-8
    return predict_texts(predictor, servable, texts)


def _parse_type(given: dict[str, Any]) -> tuple[list[int], str]:
    """Return the shape and the datatype of an input. Raises InvalidRequest."""
    shape, datatype = given.get("shape"), given.get("datatype")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise InvalidRequest("`shape` must be a list of integers of at least 0.")
    if not isinstance(datatype, str) or datatype not in (*TYPES, BFLOAT16, BYTES):
        raise InvalidRequest(f"`datatype` is {str(datatype)[:20]!r}. It must be {', '.join(TYPES)}, BF16 or BYTES.")
    return shape, datatype


def _find_meaning(datatype: str, servable: Servable) -> Meaning | None:
    """Return what a tensor of images is: pixels if UINT8, the network's input if its numbers are floating-point.

    Returns None for tables. Raises InvalidRequest for other integers, because they can be either.
    """
    if not isinstance(servable.manifest.preprocessing, ImageContract):
        return None
    if datatype == "UINT8":
        return Meaning.PIXELS
    if datatype.startswith(("INT", "UINT")):
        raise InvalidRequest(f"`datatype` is {datatype}. Send pixels as UINT8, and the network's input as FP32.")
    return Meaning.NETWORK


def _read_columns(
    inputs: list[dict[str, Any]], servable: Servable, raw: memoryview
) -> NDArray[np.float64] | list[list[Any]]:
    """Read the columns of a table, each an input of the shape [n] or [n, 1].

    Returns (n, columns), or rows of cells if the version encodes its columns. Raises InvalidRequest.
    """
    columns, contract = servable.manifest.columns, servable.manifest.preprocessing
    encodings = contract.columns if isinstance(contract, NumbersContract) else ()
    by_name = dict(zip(columns, encodings, strict=False))
    read: dict[str, NDArray[Any]] = {}
    for given in inputs:
        name, (shape, datatype) = str(given.get("name")), _parse_type(given)
        if datatype == BYTES and not encodings:
            raise InvalidRequest(f"The column {name!r} is BYTES. This version takes numbers.")
        parameters = given.get("parameters")
        size = parameters.get("binary_data_size", 0) if isinstance(parameters, dict) else 0
        piece = raw[:size] if type(size) is int and size > 0 else raw[:0]
        raw = raw[len(piece) :]
        if datatype != BYTES:
            read[name] = _parse_tensor(given, shape, datatype, piece)
        elif name in by_name and isinstance(contract, NumbersContract):
            texts = _read_texts(given, shape, piece)
            cells = [read_cell(text, by_name[name], contract.number_format) for text in texts]
            read[name] = np.array(cells, object).reshape(shape)
    taken = [read[name] for name in columns]
    shapes = {(*column.shape, 1) if column.ndim == 1 else column.shape for column in taken}
    if len(shapes) != 1 or not all(len(shape) == 2 and shape[1] == 1 for shape in shapes):  # noqa: PLR2004 - rows, 1
        raise InvalidRequest("Each column must have the shape [n] or [n, 1], with the same n.")
    if encodings:
        return [list(row) for row in zip(*(column.ravel().tolist() for column in taken), strict=True)]
    return np.column_stack(taken).astype(np.float64, copy=False)


def _read_text_rows(
    given: dict[str, Any], shape: list[int], contract: NumbersContract, raw: memoryview
) -> list[list[Any]]:
    """Read rows of a table from a BYTES tensor, [n, columns], of cells of text. Raises InvalidRequest."""
    encodings, number_format = contract.columns, contract.number_format
    if not encodings or shape[1:] != [len(encodings)]:
        wanted = f"a row as BYTES has {len(encodings)} cells" if encodings else "this version takes numbers"
        raise InvalidRequest(f"The input is BYTES of the shape {shape}, and {wanted}.")
    texts = _read_texts(given, shape, raw)
    cells = [read_cell(text, encoding, number_format) for text, encoding in zip(texts, cycle(encodings), strict=False)]
    width = len(encodings)
    return [cells[start : start + width] for start in range(0, len(cells), width)]


def _read_texts(given: dict[str, Any], shape: list[int], raw: memoryview) -> list[str]:
    """Read the texts of a BYTES tensor. Raises InvalidRequest."""
    if _parse_binary_size(given, raw) is not None:
        try:
            texts = [element.decode() for element in _split_bytes(raw)]
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"An element of BYTES is not UTF-8: {error}.") from None
    else:
        texts = list(_iterate_texts(given["data"]))
    if len(texts) != np.prod(shape, dtype=object):
        raise InvalidRequest(f"The input has {len(texts)} elements, which does not match the shape {shape}.")
    return texts


def _iterate_texts(data: object) -> Iterator[str]:
    """Yield the texts in `data`, flat or in nested lists. Raises InvalidRequest."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, list):
        for entry in data:
            yield from _iterate_texts(entry)
    else:
        raise InvalidRequest(f"An element of BYTES is {str(data)[:40]!r}. Send texts, also for numbers.")


def _parse_tensor(given: dict[str, Any], shape: list[int], datatype: str, raw: memoryview) -> NDArray[Any]:
    """Parse a tensor of numbers from `data` or from the binary data, in the given shape. Raises InvalidRequest."""
    size = _parse_binary_size(given, raw)
    if size is None:
        dtype = np.dtype(TYPES.get(datatype, np.float32))
        try:
            values = to_array(
                given.get("data"), INTEGER_TYPES if dtype.kind in "biu" else INTEGER_TYPES | REAL_TYPES, dtype
            ).ravel()
        except ValueError as error:
            raise InvalidRequest(f"`data` is not a tensor of {datatype}: {error}.") from None
    elif datatype == BFLOAT16:
        # The bits of a bfloat16 are the upper half of those of a float32.
        values = (np.frombuffer(raw, _make_little_endian("u2")).astype(np.uint32) << 16).view(np.float32)
    else:
        dtype = np.dtype(TYPES[datatype]).newbyteorder("<")
        if size % dtype.itemsize:
            raise InvalidRequest(f"{size} bytes are not a whole number of {datatype} elements.")
        values = np.frombuffer(raw, dtype)
    if values.size != np.prod(shape, dtype=object):  # as Python integers, because int64 can overflow
        raise InvalidRequest(f"The input has {values.size} elements, which does not match the shape {shape}.")
    return values.reshape(shape)


def _make_little_endian(code: str) -> np.dtype[Any]:
    return np.dtype(code).newbyteorder("<")


def _parse_binary_size(given: dict[str, Any], raw: memoryview) -> int | None:
    """Return the number of bytes of the binary data; None if the data is in the JSON. Raises InvalidRequest."""
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidRequest("`parameters` must be an object.")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in given:
            raise InvalidRequest("The input has neither `data` nor `binary_data_size`.")
        return None
    if type(size) is not int or size != len(raw):
        raise InvalidRequest(f"`binary_data_size` is {str(size)[:20]}, but {len(raw)} bytes follow the JSON.")
    if size % 2 and given.get("datatype") == BFLOAT16:
        raise InvalidRequest(f"{size} bytes are not a whole number of BF16 elements.")
    return size


def _read_elements(given: dict[str, Any], shape: list[int], raw: memoryview, servable: Servable) -> list[bytes]:
    """Read the encoded images of a BYTES tensor. In JSON they are base64. Raises InvalidRequest or InvalidImage."""
    if _parse_binary_size(given, raw) is not None:
        elements = list(_split_bytes(raw))
    else:
        texts = given["data"]
        elements = images_from_base64(texts if isinstance(texts, list) else [texts], servable)
    if not elements or len(elements) != np.prod(shape, dtype=object):
        raise InvalidRequest(f"The input has {len(elements)} elements, which does not match the shape {shape}.")
    return elements


def _split_bytes(raw: memoryview) -> Iterator[bytes]:
    """Split a BYTES tensor. Each element is its length, 4 bytes little-endian, followed by its bytes."""
    index = 0
    while index < len(raw):
        if index + 4 > len(raw):
            raise InvalidRequest("The last element of BYTES is cut off.")
        (length,) = struct.unpack_from("<I", raw, index)
        index += 4
        if index + length > len(raw):
            raise InvalidRequest("The last element of BYTES is cut off.")
        yield bytes(raw[index : index + length])
        index += length


def _format_reply(
    servable: Servable, document: dict[str, Any], wanted: tuple[int, bool], values: NDArray[np.float32]
) -> Reply:
    """Format the reply to a request. `document` is its JSON, `wanted` the result of `_parse_outputs`."""
    classes, binary = wanted
    output: dict[str, Any] = {"name": OUTPUT_NAME}
    if classes:
        ranked = [_rank_classes(row, servable.manifest.classes or servable.manifest.labels, classes) for row in values]
        texts = [text for row in ranked for text in row]
        output |= {"datatype": BYTES, "shape": [len(ranked), len(ranked[0])]}
        data = b"".join(struct.pack("<I", len(text)) + text for text in (text.encode() for text in texts))
        listed: Any = texts
    else:
        output |= {"datatype": "FP32", "shape": values.shape}
        data, listed = values.astype("<f4", copy=False).tobytes(), values.ravel()
    request_id = document.get("id")
    document = {
        "model_name": servable.model,
        "model_version": servable.reference,
        "id": request_id if isinstance(request_id, str) else uuid4().hex,
        "outputs": [output],
    }
    if not binary:
        output["data"] = listed
        return Reply(dump_json(document))
    output["parameters"] = {"binary_data_size": len(data)}
    header = dump_json(document)
    return Reply(header + data, "application/octet-stream", headers=((JSON_LENGTH, str(len(header))),))


def _rank_classes(row: NDArray[np.float32], classes: tuple[str, ...], count: int) -> list[str]:
    """Format the `count` classes with the largest values as `value:index:label`, the largest first.

    A single output is the probability of the second of two classes. For a regression, the label is left out.
    """
    scores = np.array([1 - row[0], row[0]], np.float32) if len(classes) > len(row) else row
    best = np.argsort(-scores, kind="stable")[:count]
    labels = classes or ("",) * len(scores)
    return [f"{scores[index]:f}:{index}" + (f":{labels[index]}" if classes else "") for index in best]
