"""The three forms of a prediction request, each as a list of inputs."""

from typing import TYPE_CHECKING, Any

from flask import Request

from api.http.bodies import JSON_TYPES, read_body, read_json
from api.protocols.call import Asked, Reply
from api.services import Services, services
from api.serving.predictor import PredictionOutputs, dump_predictions
from shared.errors import InvalidRequest, ServiceError, UnsupportedContent
from shared.inference.inputs import UNSPECIFIC_MEDIA_TYPES, ImageInput, Input, parse_instance
from shared.inference.servable import Servable
from shared.preprocessing.decoding import MEDIA_TYPES, ImageLimits

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "predictions"
MAX_INPUTS = 1000
_AFTER = "/predictions"
_PARTS_BEFORE = 4
"""Of the path, the model's name."""
_TOP = "top="
_MOST_DIGITS = 3
_TYPES = frozenset({*MEDIA_TYPES.values(), *UNSPECIFIC_MEDIA_TYPES, *JSON_TYPES})
_BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        **dict.fromkeys((*MEDIA_TYPES.values(), "application/octet-stream"), _BINARY),
        "multipart/form-data": {
            "schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["instances"],
                "additionalProperties": False,
                "properties": {
                    "instances": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_INPUTS,
                        "description": 'Each `{"b64": "…"}` for an image, or the numbers of one row',
                        "items": {},
                    }
                },
            },
            "examples": {
                "image": {"value": {"instances": [{"b64": "iVBORw0KGgo="}]}},
                "numbers": {"value": {"instances": [[5.1, 3.5, 1.4, 0.2]]}},
            },
        },
    },
}


def asked(environ: "WSGIEnvironment", services: Services) -> Asked | None:
    """None where it is not of the usual kind."""
    path, media_type = environ["PATH_INFO"], environ.get("CONTENT_TYPE", "")
    top = _top(environ.get("QUERY_STRING", ""))
    if not (top and path.endswith(_AFTER) and media_type in _TYPES):
        return None

    def answer(servable: Servable, body: bytes) -> Reply | PredictionOutputs:
        outputs = services.predictor.outputs(servable, inputs_of(body, media_type))
        if any(isinstance(found, ServiceError) for found in outputs.read):
            return outputs
        return Reply(dump_predictions(servable, outputs, top))

    max_bytes = services.max_request_bytes if media_type in JSON_TYPES else services.image_limits.max_bytes
    match path.removesuffix(_AFTER).split("/")[_PARTS_BEFORE:]:
        case [model]:
            return Asked(ROUTE, model, None, max_bytes, answer)
        case [model, "versions", reference]:
            return Asked(ROUTE, model, reference, max_bytes, answer)
        case _:
            return None


def _top(query: str) -> int:
    """0 for any other query."""
    if not query:
        return 1
    number = query.removeprefix(_TOP)
    return int(number) if query.startswith(_TOP) and number.isdecimal() and len(number) <= _MOST_DIGITS else 0


def read_inputs(request: Request, limits: ImageLimits) -> list[Input | ServiceError]:
    """An error stands in the place of an input that could not even be unpacked."""
    if request.mimetype == "multipart/form-data":
        return _files(request, limits)
    if request.mimetype in JSON_TYPES:
        return inputs_of(read_body(services().max_request_bytes), request.mimetype)
    if request.mimetype.startswith("image/") or request.mimetype in UNSPECIFIC_MEDIA_TYPES:
        return inputs_of(read_body(limits.max_bytes), request.mimetype)
    raise UnsupportedContent(
        f"The Content-Type is {request.mimetype!r}: send an image as image/png or the like, "
        'files as multipart/form-data, or application/json with {"instances": […]}.'
    )


def inputs_of(body: bytes, media_type: str) -> list[Input | ServiceError]:
    """Of a body that is JSON, or else an image. Raises MalformedRequest or InvalidRequest."""
    if media_type in JSON_TYPES:
        return _instances(read_json(body))
    return [ImageInput("the image", body, media_type)]


def _files(request: Request, limits: ImageLimits) -> list[Input | ServiceError]:
    files = [file for _, file in request.files.items(multi=True)]
    if not files:
        raise InvalidRequest("There is no file in the form: send each image as a file, with a file name.")
    return [
        # one byte more than allowed, so that the limit is seen to be passed
        ImageInput(file.filename or file.name or f"file {index}", file.stream.read(limits.max_bytes + 1), file.mimetype)
        for index, file in enumerate(files, 1)
    ]


def _instances(body: object) -> list[Input | ServiceError]:
    if not isinstance(body, dict) or body.keys() != {"instances"} or not isinstance(body["instances"], list):
        raise InvalidRequest('The body is {"instances": […]}, one entry for each input, and nothing else beside it.')
    if not 0 < len(body["instances"]) <= MAX_INPUTS:
        raise InvalidRequest(f"`instances` holds 1 to {MAX_INPUTS} inputs, not {len(body['instances'])}.")
    return [_instance(instance, f"instances/{index}") for index, instance in enumerate(body["instances"])]


def _instance(instance: object, name: str) -> Input | ServiceError:
    try:
        return parse_instance(instance, name)
    except ServiceError as error:
        return error
