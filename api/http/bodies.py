"""Read request bodies up to a limit, and parse JSON and YAML into values that can be stored."""

import json
import math
import re
import sys
from typing import Any, NoReturn

from flask import current_app, g, request
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from shared.errors import Fault, InvalidRequest, MalformedRequest, RequestTooLarge, UnsupportedContent

MAX_DOCUMENT_BYTES = 2 * 2**20
MAX_YAML_BYTES = 2**20  # YAML takes about 50 times as long to parse as JSON
MAX_DEPTH = 40
MAX_JSON_VALUES = 1_000_000
"""The most values in a JSON document. Each takes up to 100 bytes of memory, and a fraction of a microsecond."""
MAX_WHOLE_NUMBER = 2**63
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""The characters that a database refuses in a string."""
JSON_TYPES = ("application/json",)
MAX_LENGTH_DIGITS = 18
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def parse_length(text: str | None) -> int | None:
    """Parse the value of a header that states a number of bytes.

    Returns None without the header, for text other than digits, and for more than MAX_LENGTH_DIGITS digits: `int`
    refuses thousands of digits.
    """
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS):
        return None
    return int(text)


def read_body(max_bytes: int) -> bytes:
    """Read the body of the request. Raises RequestTooLarge above `max_bytes`, or above TRAINYARD_MAX_REQUEST_BYTES.

    A chunked body declares no length. It is read to at most one byte more than the limit.
    """
    # Werkzeug truncates a chunked body at its own limit without an error, so this limit must be lower.
    limit = min(max_bytes, current_app.config["MAX_CONTENT_LENGTH"] - 1)
    size = limit + 1 if request.content_length is None else request.content_length  # read() allocates `size` bytes
    body = request.stream.read(size) if size <= limit + 1 else None
    if body is None or len(body) > limit:
        raise RequestTooLarge(f"The body is larger than {limit:,} bytes, the limit of this request. Send less.")
    return body


def read_document_body() -> tuple[bytes, bool]:
    """Read a body that is JSON or YAML, as its Content-Type says. Returns the body, and whether it is YAML.

    A second call returns the same. Raises UnsupportedContent or RequestTooLarge.
    """
    if "document_body" not in g:
        g.document_body = _read_document_body()
    body: tuple[bytes, bool] = g.document_body
    return body


def _read_document_body() -> tuple[bytes, bool]:
    if request.mimetype in YAML_TYPES:
        return read_body(MAX_YAML_BYTES), True
    if request.mimetype in JSON_TYPES or request.mimetype.endswith("+json"):
        return read_body(MAX_DOCUMENT_BYTES), False
    raise UnsupportedContent(
        f"The Content-Type is {request.mimetype or 'missing'!r}. Send application/json or application/yaml."
    )


def parse_document(body: bytes, *, is_yaml: bool) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON or YAML, and return JSON values that `check_values` accepts.

    Raises MalformedRequest or InvalidRequest.
    """
    document = _read_yaml(body) if is_yaml else read_json(body)
    check_values(document, "#", 0)
    return document


def read_json(body: bytes, max_values: int = MAX_JSON_VALUES) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON without a check of its values. Objects must not have duplicate keys.

    Raises MalformedRequest, with line and column if the JSON parser reports them, or RequestTooLarge for more than
    `max_values` values.
    """
    if body.count(b",") >= max_values:
        raise RequestTooLarge(
            f"The JSON has more than {max_values:,} values, the limit. Send fewer inputs in a request, or images "
            "as files instead of numbers."
        )
    try:
        return json.loads(body, object_pairs_hook=_check_duplicate_keys)
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8: {error}.") from None
    except RecursionError:
        raise MalformedRequest(f"The JSON has more than {MAX_DEPTH} nested levels, the limit.") from None
    except ValueError as error:
        raise MalformedRequest(f"The body is not JSON: {error}.") from None


def _check_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise MalformedRequest(f"The key {name[:100]!r} occurs twice in one object. Remove one of them.")
        members[name] = value
    return members


class _ComposerWithoutAliases(Composer):
    """A composer that refuses aliases. A few nested aliases can expand to more values than fit into memory."""

    def compose_node(self, parent: object, index: object) -> object:
        if self.parser.check_event(AliasEvent):
            raise MalformedRequest("The YAML uses an alias (`*name`). Write the value itself instead.")
        return super().compose_node(parent, index)


def _read_yaml(body: bytes) -> Any:  # noqa: ANN401 - JSON
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _ComposerWithoutAliases
    try:
        return yaml.load(body)
    except RecursionError:
        raise MalformedRequest(f"The YAML has more than {MAX_DEPTH} nested levels, the limit.") from None
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        detail = f"The body is not YAML: {' '.join(str(error).split())}"
        if mark is None:
            raise MalformedRequest(detail) from None
        problem = str(getattr(error, "problem", "") or "it cannot be read")
        fault = Fault("#", f"{problem}.", line=mark.line + 1, column=mark.column + 1)
        raise MalformedRequest(detail, (fault,)) from None


def check_values(value: Any, pointer: str, depth: int) -> None:  # noqa: ANN401 - JSON
    """Check a value and all values in it: finite numbers, integers of 64 bits, strings that a database can store.

    Args:
        value: JSON values, or other values that YAML has made.
        pointer: JSON Pointer to `value`, `#` for the whole document.
        depth: nested levels above `value`. At most MAX_DEPTH are allowed.

    Raises:
        InvalidRequest: with the first fault and its pointer.
    """
    if depth > MAX_DEPTH:
        _raise_fault(pointer, f"This value is more than {MAX_DEPTH} levels deep, the limit.")
    if isinstance(value, list):
        for index, entry in enumerate(value):
            check_values(entry, f"{pointer}/{index}", depth + 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                _raise_fault(pointer, f"The key {_show(key)!r} is not a string. Put it in quotes.")
            check_values(key, pointer, depth + 1)
            check_values(entry, f"{pointer}/{escape_pointer(key)}", depth + 1)
    elif (fault := _find_scalar_fault(value)) is not None:
        _raise_fault(pointer, fault)


def _find_scalar_fault(value: object) -> str | None:
    """Return the reason why a scalar is refused; None if JSON can represent it and a database can store it."""
    match value:
        case None | bool():
            return None
        case str():
            if UNSTORABLE.search(value) is None:
                return None
            return "The string contains a NUL character or an unpaired surrogate. Remove it."
        case int():
            return "The absolute value of the integer must be below 2**63." if abs(value) >= MAX_WHOLE_NUMBER else None
        case float():
            return None if math.isfinite(value) else f"{value} is not a finite number."
        case _:
            return f"YAML reads {_show(value)!r} as a {type(value).__name__}. Put it in quotes."


def _show(value: object) -> str:
    """Return the first characters of a value; Python refuses to write integers of more than 4,300 digits."""
    try:
        return str(value)[:100]
    except ValueError:
        return f"an integer of more than {sys.get_int_max_str_digits():,} digits"


def _raise_fault(pointer: str, detail: str) -> NoReturn:
    raise InvalidRequest("The request is invalid.", (Fault(pointer, detail),))


def escape_pointer(key: str) -> str:
    """Escape a key as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
