"""Parse and answer the bodies of the REST API of TensorFlow Serving."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.http.reading.body_reader import BodyReader
from api.protocols.call import PredictionCall, Reply
from api.protocols.tensors import (
    Predicted,
    dump_json,
    images_from_base64,
    predict_images,
    predict_numbers,
    transpose_columns,
)
from api.serving.predictor import Predictor
from shared.errors import InvalidRequest, MalformedRequest
from shared.inference.inputs import order_row
from shared.inference.servable import Servable
from shared.preprocessing.text import TextContract
from shared.registry.manifest import INPUT_NAME

SIGNATURE = "serving_default"
MAX_LEVELS = 64
"""Lists that are nested deeper are not searched for the first fault."""


@dataclass(frozen=True, slots=True)
class TfServingCall(PredictionCall):
    """A request without its body.

    Attributes:
        verb: `predict`, `classify` or `regress`.
        encoding: the Content-Encoding, in lower case; empty if the body is not compressed.
    """

    verb: str
    encoding: str


def parse_document(servable: Servable, body: bytes, reader: BodyReader) -> dict[str, Any]:
    """Parse a body and check its signature name.

    Raises MalformedRequest with the message of TensorFlow Serving, RequestTooLarge or Overloaded.
    """
    if not body.strip():
        raise MalformedRequest("JSON Parse error: The document is empty")
    try:
        document = reader.read_json(body)
    except (ValueError, RecursionError) as error:
        offset = getattr(error, "pos", 0)
        raise MalformedRequest(f"JSON Parse error: Invalid value. at offset: {offset}") from None
    if not isinstance(document, dict):
        raise MalformedRequest("JSON Value: is not object, expecting an object with 'instances' or 'inputs'.")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise MalformedRequest("'signature_name' key must be a string value.")
    if signature not in ("", SIGNATURE):
        raise MalformedRequest(f'Serving signature name: "{signature}" not found in signature def of {servable.name}.')
    return document


def predict_instances(predictor: Predictor, servable: Servable, document: dict[str, Any]) -> Reply:
    """Predict and format the reply. Raises ServiceError.

    The response has `predictions` for `instances`, the row format, and `outputs` for `inputs`, the column format.
    """
    given = document.keys() & {"instances", "inputs"}
    if not given:
        raise MalformedRequest("Missing 'inputs' or 'instances' key")
    if len(given) > 1:
        raise MalformedRequest("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in document:
        rows = _parse_instances(document["instances"], servable.manifest.columns)
        outputs = _compute_outputs(predictor, servable, rows, rows)
        return _make_reply({"predictions": outputs.values}, outputs)
    column = _parse_inputs(document["inputs"], servable.manifest.columns)
    outputs = _compute_outputs(predictor, servable, column, [column])
    return _make_reply({"outputs": outputs.values}, outputs)


def _parse_instances(instances: object, columns: Sequence[str]) -> list[Any] | NDArray[Any]:
    """Return the instances, each a tensor or `{"b64": …}`. A client may send them under the name of the input.

    A row of a table can be an object with the names of its columns.
    """
    if isinstance(instances, np.ndarray):
        return instances
    if not isinstance(instances, list):
        raise MalformedRequest("Excepting 'instances' to be an list/array")
    if not instances:
        raise MalformedRequest("No values in 'instances' array")
    return [_unwrap_instance(instance, columns, index) for index, instance in enumerate(instances)]


def _unwrap_instance(instance: object, columns: Sequence[str], index: int) -> Any:  # noqa: ANN401 - JSON
    """Return a tensor, or `{"b64": …}`. Raises MalformedRequest, or InvalidRequest for a row without a column."""
    if columns and isinstance(instance, dict) and instance.keys() not in ({INPUT_NAME}, {"b64"}):
        return order_row(instance, columns, f"instances/{index}")
    return _unwrap_input(instance)


def _parse_inputs(inputs: object, columns: Sequence[str]) -> list[Any] | NDArray[Any]:
    """Return the values of the one input as a list, one value for each instance. Columns of a table are transposed."""
    if columns and isinstance(inputs, dict) and inputs.keys() not in ({INPUT_NAME}, {"b64"}):
        return transpose_columns(order_row(inputs, columns, "inputs"))
    values = _unwrap_input(inputs)
    return values if isinstance(values, list | np.ndarray) else [values]


def _unwrap_input(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return the value under the name of the input; tensors and `{"b64": …}` unchanged. Raises MalformedRequest."""
    if not isinstance(value, dict) or value.keys() == {"b64"}:
        return value
    if value.keys() != {INPUT_NAME}:
        raise MalformedRequest(f"The network has one input, {INPUT_NAME!r}. The request has {sorted(value)}.")
    return value[INPUT_NAME]


def _compute_outputs(
    predictor: Predictor, servable: Servable, values: list[Any] | NDArray[Any], tensors: list[Any] | NDArray[Any]
) -> Predicted:
    """Predict `values`, which are all encoded images, or bytes of texts, or all numbers, or all texts.

    `tensors` are searched for a fault if the numbers are invalid: the instances in the row format, and one tensor with
    all values in the column format. Raises ServiceError.
    """
    are_images = [isinstance(value, dict) for value in values] if isinstance(values, list) else []
    if not any(are_images):
        try:
            return predict_numbers(predictor, servable, values)
        except InvalidRequest as error:
            if isinstance(servable.manifest.preprocessing, TextContract):
                raise
            raise InvalidRequest(" ".join((*_find_fault(tensors), error.detail))) from None
    if not all(are_images) or any(value.keys() != {"b64"} for value in values):
        raise MalformedRequest('Either all values are tensors, or all are images. An image is {"b64": "…"}.')
    return predict_images(predictor, servable, images_from_base64((value["b64"] for value in values), servable))


def _find_fault(tensors: list[Any] | NDArray[Any]) -> Iterator[str]:
    """Yield the message of TensorFlow Serving for the first fault, if there is one.

    A fault is a value that is not a number, or a list whose level or length differs from that of the first lists.
    """
    shape: list[int] = []
    first = tensors[0] if len(tensors) else None
    while isinstance(first, list) and len(shape) <= MAX_LEVELS:
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) <= MAX_LEVELS:
        yield from islice((fault for tensor in tensors for fault in _iterate_faults(tensor, shape, 0)), 1)


def _iterate_faults(value: object, shape: list[int], level: int) -> Iterator[str]:
    """Yield a message for each fault. `shape` is the expected length of the lists at each level."""
    if isinstance(value, str):
        yield f'JSON Value: "{value[:100]}" Type: String is not of expected type: float.'
    elif value is None or isinstance(value, dict):
        yield f"JSON Value: {str(value)[:100]} is not of expected type: float."
    elif isinstance(value, list) and level == len(shape):
        yield f"Encountered list at unexpected level: {level} expected < {level}."
    elif isinstance(value, list) and len(value) != shape[level]:
        yield f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}."
    elif isinstance(value, list):
        for entry in value:
            yield from _iterate_faults(entry, shape, level + 1)


def classify_examples(predictor: Predictor, servable: Servable, document: dict[str, Any]) -> Reply:
    """Classify and format the reply: label and probability of all classes. Raises ServiceError."""
    classes = servable.manifest.classes or servable.manifest.labels
    if not classes:
        raise InvalidRequest(f"Version {servable.name} has no classes. Use `regress` or `predict`.")
    examples = _parse_examples(document, servable.manifest.columns)
    outputs = _compute_outputs(predictor, servable, examples, examples)
    values = outputs.values
    if len(classes) > values.shape[1]:  # a single output is the probability of the second class
        values = np.concatenate([1 - values, values], axis=1)
    return _make_reply({"results": [list(zip(classes, row, strict=True)) for row in values]}, outputs)


def regress_examples(predictor: Predictor, servable: Servable, document: dict[str, Any]) -> Reply:
    """Predict numbers and format the reply: a number or a list for each example. Raises ServiceError."""
    if servable.manifest.classes or servable.manifest.labels:
        raise InvalidRequest(f"Version {servable.name} predicts classes. Use `classify` or `predict`.")
    examples = _parse_examples(document, servable.manifest.columns)
    outputs = _compute_outputs(predictor, servable, examples, examples)
    return _make_reply({"results": [row[0] if len(row) == 1 else row for row in outputs.values]}, outputs)


VERBS = {"predict": predict_instances, "classify": classify_examples, "regress": regress_examples}


def _make_reply(document: dict[str, Any], outputs: Predicted) -> Reply:
    """Format a reply as JSON. `outputs` are the numbers in it."""
    if np.isfinite(outputs.values).all():
        return Reply(dump_json(document), headers=outputs.headers)
    body = json.dumps(document, default=lambda value: value.tolist()).encode()  # NaN and Infinity, as in TFS
    return Reply(body, headers=outputs.headers)


def _parse_examples(document: dict[str, Any], columns: Sequence[str]) -> list[Any]:
    """Return the examples, each a tensor or `{"b64": …}`. Raises MalformedRequest."""
    examples = document.get("examples")
    if not isinstance(examples, list | np.ndarray) or not len(examples):
        raise MalformedRequest("When method is classify or regress, key 'examples' is expected and holds a list.")
    return [_unwrap_instance(example, columns, index) for index, example in enumerate(examples)]
