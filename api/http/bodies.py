"""Read request bodies: bytes up to a limit, and JSON or YAML as values that are safe to store."""

import json
import math
from typing import Any, NoReturn

from flask import current_app, request
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from shared.errors import Fault, InvalidRequest, MalformedRequest, RequestTooLarge, UnsupportedContent

MAX_DOCUMENT_BYTES = 8 * 2**20
MAX_YAML_BYTES = 2**20  # it is read some fifty times slower than JSON
MAX_DEPTH = 40
MAX_WHOLE_NUMBER = 2**63
JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def read_body(max_bytes: int) -> bytes:
    """Raises RequestTooLarge. A body in chunks has no length to refuse it by: it is read no further than allowed."""
    # One less than Werkzeug's own limit, at which it stops reading without a word.
    limit = min(max_bytes, current_app.config["MAX_CONTENT_LENGTH"] - 1)
    size = limit + 1 if request.content_length is None else request.content_length  # so much room is made for it
    body = request.stream.read(size) if size <= limit + 1 else None
    if body is None or len(body) > limit:
        raise RequestTooLarge(f"The body is larger than the {limit:,} bytes that are read here.")
    return body


def read_document() -> Any:  # noqa: ANN401 - JSON
    """The body as JSON values, from JSON or YAML; finite numbers, printable strings, no deeper than sensible."""
    if request.mimetype in YAML_TYPES:
        document = _read_yaml(read_body(MAX_YAML_BYTES))
    elif request.mimetype in JSON_TYPES or request.mimetype.endswith("+json"):
        document = read_json(read_body(MAX_DOCUMENT_BYTES))
    else:
        raise UnsupportedContent(
            f"The Content-Type is {request.mimetype or 'missing'!r}: send application/json or application/yaml."
        )
    check_values(document, "#", 0)
    return document


def read_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Raises MalformedRequest, with line and column where JSON tells them."""
    try:
        return json.loads(body, object_pairs_hook=_check_duplicate_keys)
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8: {error}.") from None
    except RecursionError:
        raise MalformedRequest(f"The JSON is nested deeper than the {MAX_DEPTH} levels that are read here.") from None
    except ValueError as error:
        raise MalformedRequest(f"The body is not JSON: {error}.") from None


def _check_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedRequest(f"The key {twice[:100]!r} stands twice in one object: which is meant?")
    return members


class _ComposerWithoutAliases(Composer):
    """A few aliases of aliases are a bomb: small to send, endless to read."""

    def compose_node(self, parent: object, index: object) -> object:
        if self.parser.check_event(AliasEvent):
            raise MalformedRequest("The YAML uses an alias (`*name`): write the value out.")
        return super().compose_node(parent, index)


def _read_yaml(body: bytes) -> Any:  # noqa: ANN401 - JSON
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _ComposerWithoutAliases
    try:
        return yaml.load(body)
    except RecursionError:
        raise MalformedRequest(f"The YAML is nested deeper than the {MAX_DEPTH} levels that are read here.") from None
    except (YAMLError, ValueError) as error:
        raise MalformedRequest(f"The body is not YAML: {' '.join(str(error).split())}") from None


def check_values(value: Any, pointer: str, depth: int) -> None:  # noqa: ANN401 - JSON
    if depth > MAX_DEPTH:
        _raise_fault(pointer, f"Nested deeper than the {MAX_DEPTH} levels that are read here.")
    if isinstance(value, list):
        for index, entry in enumerate(value):
            check_values(entry, f"{pointer}/{index}", depth + 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                _raise_fault(pointer, f"The key {str(key)[:100]!r} is not a text: put it in quotes.")
            check_values(key, pointer, depth + 1)
            check_values(entry, f"{pointer}/{escape_pointer(key)}", depth + 1)
    elif (fault := _find_scalar_fault(value)) is not None:
        _raise_fault(pointer, fault)


def _find_scalar_fault(value: object) -> str | None:
    """None for a value that JSON can hold and a database can keep."""
    match value:
        case None | bool():
            return None
        case str():
            unprintable = "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
            return "A NUL or half a surrogate pair cannot stand in a text." if unprintable else None
        case int():
            return "A whole number of more than 64 bits." if abs(value) >= MAX_WHOLE_NUMBER else None
        case float():
            return None if math.isfinite(value) else f"{value} is not a finite number."
        case _:
            return f"YAML reads {str(value)[:100]!r} as a {type(value).__name__}: put it in quotes."


def _raise_fault(pointer: str, detail: str) -> NoReturn:
    raise InvalidRequest("The request does not say what it must.", (Fault(pointer, detail),))


def escape_pointer(key: str) -> str:
    """RFC 6901."""
    return key.replace("~", "~0").replace("/", "~1")
