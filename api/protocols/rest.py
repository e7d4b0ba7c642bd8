"""Answer prediction requests in Trainyard's own wire format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Request

from api.http.bodies import JSON_TYPES, escape_pointer, read_body
from api.http.problems import MEDIA_TYPE as PROBLEM_TYPE
from api.http.problems import STATUS, to_problem
from api.http.reading.body_reader import BodyReader
from api.protocols.call import PredictionCall, Reply
from api.protocols.tensors import make_meaning_header
from api.services import Services, services
from api.serving.predictor import dump_predictions
from shared.errors import Fault, InvalidRequest, ServiceError, UnsupportedContent
from shared.inference.inputs import ImageInput, Input, TextInput, parse_instance
from shared.inference.servable import Servable
from shared.preprocessing.decoding import MEDIA_TYPES, ImageLimits

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTE = "predictions"
MAX_INPUTS = 1000
MAX_FAULTS = 50
_PATH_END = "/predictions"
_PARTS_BEFORE_MODEL = 4
"""Parts of the path before the name of the model: an empty one, `api`, `v1` and `models`."""
_TOP = "top="
_MAX_TOP_DIGITS = 3
UNSPECIFIC_MEDIA_TYPES = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""Media types that clients send without regard to the content; curl sends the last one with `--data`."""
TEXT = "text/plain"
_FAST_TYPES = frozenset({*MEDIA_TYPES.values(), *UNSPECIFIC_MEDIA_TYPES, *JSON_TYPES, TEXT})
"""The Content-Types that the fast path answers. One with parameters goes to Flask."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        **dict.fromkeys((*MEDIA_TYPES.values(), "application/octet-stream"), _BINARY),
        TEXT: {"schema": {"type": "string"}},
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
                        "description": (
                            'One entry for each input: `{"b64": "…"}` with an encoded image, a text, or numbers, which '
                            "are the values of one row or the pixels of one image."
                        ),
                        "items": {},
                    }
                },
            },
            "examples": {
                "image": {"value": {"instances": [{"b64": "iVBORw0KGgo="}]}},
                "numbers": {"value": {"instances": [[5.1, 3.5, 1.4, 0.2]]}},
                "text": {"value": {"instances": ["A warm story with very good actors."]}},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class RestCall(PredictionCall):
    """A prediction request. `top` is the number of most probable classes in each prediction."""

    media_type: str
    top: int


class RestProtocol:
    """Trainyard's own wire format: an image or a text as the body, as files of a form, or JSON with `instances`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def parse(self, environ: "WSGIEnvironment") -> RestCall | None:
        """Parse a request. Returns None for another path, query or media type, such as a form, which Flask parses."""
        path, media_type = environ["PATH_INFO"], environ.get("CONTENT_TYPE", "")
        top = _parse_top(environ.get("QUERY_STRING", ""))
        if not (top and path.endswith(_PATH_END) and media_type in _FAST_TYPES):
            return None
        services = self._services
        max_bytes = services.max_request_bytes if media_type in JSON_TYPES else services.decoder.limits.max_bytes
        match path.removesuffix(_PATH_END).split("/")[_PARTS_BEFORE_MODEL:]:
            case [model]:
                return RestCall(ROUTE, model, None, max_bytes, media_type, top)
            case [model, "versions", reference]:
                return RestCall(ROUTE, model, reference, max_bytes, media_type, top)
            case _:
                return None

    def answer(self, call: RestCall, servable: Servable, body: bytes) -> Reply:
        """Predict the inputs of a body.

        An input that cannot be read has a problem in place of its prediction. Raises ServiceError if none can be read,
        or if the body is invalid.
        """
        inputs = parse_inputs(body, call.media_type, self._services.bodies, servable.manifest.columns)
        return self.answer_inputs(call.top, servable, inputs)

    def answer_inputs(self, top: int, servable: Servable, inputs: Sequence[Input | ServiceError]) -> Reply:
        """Predict inputs, each with the `top` most probable classes.

        Raises Overloaded, or the error of the first input if none can be read.
        """
        outputs = self._services.predictor.predict(servable, inputs)
        headers = (make_meaning_header(outputs.meaning),) if outputs.meaning is not None else ()
        return Reply(dump_predictions(servable, outputs, top), headers=headers)

    @staticmethod
    def error(error: ServiceError) -> Reply:
        """Format an error as a problem document (RFC 9457)."""
        return Reply(to_problem(error).model_dump_json(by_alias=True).encode(), PROBLEM_TYPE, STATUS[type(error)])


def _parse_top(query: str) -> int:
    """Parse a query that is only `top`. Returns 1 for an empty query, and 0 for a query that Flask must parse."""
    if not query:
        return 1
    number = query.removeprefix(_TOP)
    return int(number) if query.startswith(_TOP) and number.isdecimal() and len(number) <= _MAX_TOP_DIGITS else 0


def read_inputs(request: Request, limits: ImageLimits, columns: Sequence[str]) -> list[Input | ServiceError]:
    """Read the inputs of a Flask request. An invalid instance of JSON has its error in its place.

    `columns` are the names of the version's columns, empty without names.

    Raises UnsupportedContent, RequestTooLarge, MalformedRequest or InvalidRequest.
    """
    if request.mimetype == "multipart/form-data":
        return _read_files(request, limits)
    if request.mimetype in JSON_TYPES:
        return parse_inputs(read_body(services().max_request_bytes), request.mimetype, services().bodies, columns)
    charset = request.mimetype_params.get("charset")
    if request.mimetype == TEXT and charset is not None:
        return [_decode_text(read_body(limits.max_bytes), charset)]
    if request.mimetype.startswith("image/") or request.mimetype in (TEXT, *UNSPECIFIC_MEDIA_TYPES):
        return parse_inputs(read_body(limits.max_bytes), request.mimetype, services().bodies, columns)
    raise UnsupportedContent(
        f"The Content-Type is {request.mimetype!r}. Send an image with its own type such as image/png, "
        'a text as text/plain, images as files in multipart/form-data, or {"instances": […]} as application/json.'
    )


def parse_inputs(
    body: bytes, media_type: str, reader: BodyReader, columns: Sequence[str]
) -> list[Input | ServiceError]:
    """Parse a body: `instances` for a media type of JSON, else one image. `columns` are those of the version.

    Raises MalformedRequest, InvalidRequest, RequestTooLarge or Overloaded.
    """
    if media_type in JSON_TYPES:
        return _parse_instances(reader.read_json(body, is_strict=True), columns)
    return [ImageInput("the text" if media_type == TEXT else "the image", body)]


def _decode_text(body: bytes, charset: str) -> TextInput:
    """Decode a text of another charset than UTF-8. Raises UnsupportedContent, or InvalidRequest for other bytes."""
    try:
        text = body.decode("utf-8-sig" if charset.lower() in ("utf-8", "utf8") else charset)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the text: it is not in {charset}: {error}. Send it in UTF-8.") from None
    except (LookupError, ValueError):  # unknown, or no charset of texts
        raise UnsupportedContent(f"The charset {charset[:40]!r} is not known. Send the text in UTF-8.") from None
    return TextInput("the text", text)


def _read_files(request: Request, limits: ImageLimits) -> list[Input | ServiceError]:
    files = [file for _, file in request.files.items(multi=True)]
    if unknown := sorted(request.form.keys())[:MAX_FAULTS]:
        detail = "Unknown field: a form has only files. Parameters are in the query, such as `?top=3`."
        faults = tuple(Fault(f"#/{escape_pointer(name)}", detail) for name in unknown)
        raise InvalidRequest("The request is invalid.", faults)
    if not files:
        raise InvalidRequest("The form contains no file. Send each image as a file with a file name.")
    return [
        # One byte more than the limit is read, so that an image above the limit is refused and not truncated.
        ImageInput(file.filename or file.name or f"file {index}", file.stream.read(limits.max_bytes + 1))
        for index, file in enumerate(files, 1)
    ]


def _parse_instances(body: object, columns: Sequence[str]) -> list[Input | ServiceError]:
    given = body["instances"] if isinstance(body, dict) and body.keys() == {"instances"} else None
    if not isinstance(given, list | np.ndarray):
        raise InvalidRequest('The body must be {"instances": […]} with one entry for each input, and nothing else.')
    if not 0 < len(given) <= MAX_INPUTS:
        raise InvalidRequest(f"`instances` has {len(given)} inputs. Send 1 to {MAX_INPUTS}.")
    instances = given if isinstance(given, list) or given.ndim > 1 else given.tolist()  # numbers of Python, not NumPy
    return [_parse_instance(instance, f"instances/{index}", columns) for index, instance in enumerate(instances)]


def _parse_instance(instance: object, name: str, columns: Sequence[str]) -> Input | ServiceError:
    try:
        return parse_instance(instance, name, columns)
    except ServiceError as error:
        return error
