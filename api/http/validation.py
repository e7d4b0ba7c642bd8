"""Validate documents with pydantic models, and describe every fault with its place."""

from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.documents.base import RequestPart
from api.http.bodies import escape_pointer
from shared.errors import MAX_FAULTS, Fault, InvalidRequest, list_names, suggest

MAX_SHOWN = 100
"""The most characters of a value in a message."""

Parsed = TypeVar("Parsed", bound=BaseModel)


def validate(model: type[Parsed], document: object, where: RequestPart = "body") -> Parsed:
    """Validate a part of the request. Raises InvalidRequest with all faults and their places, up to MAX_FAULTS."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = _collect_faults(error.errors(include_url=False), document, model)
        faults = [replace(fault, where=where) for fault in found]
        raise InvalidRequest("The request is invalid.", tuple(faults[:MAX_FAULTS])) from None


def _collect_faults(errors: list[ErrorDetails], document: object, model: type[BaseModel]) -> list[Fault]:
    """Return one fault for each place. For a union, pydantic reports an error for each member; they are joined."""
    details: dict[str, list[str]] = {}
    for error in errors:
        if len(details) > MAX_FAULTS:
            break
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            key = str(error["loc"][-1])
            message = f"Unknown key.{suggest(key, _find_keys(model) - {key})}"  # it can be a key of another place
        if error["type"] in ("model_type", "dict_type"):
            keys = f" with keys such as {list_names(list(model.model_fields)[:3])}" if not error["loc"] else ""
            message = f"{_show(error['input'])} is not a mapping. Write a mapping{keys}."
        if error["type"] == "string_pattern_mismatch":
            message = f"{_show(error['input'])} does not match the pattern {error['ctx']['pattern']}"
        details.setdefault(_build_pointer(error["loc"], document, is_missing=error["type"] == "missing"), []).append(
            message
        )
    return [
        Fault(pointer, "; or ".join(dict.fromkeys(messages)))
        for pointer, messages in details.items()
        if not any(other.startswith(f"{pointer}/") for other in details)  # other forms of a value with a fault inside
    ]


def _show(value: object) -> str:
    return repr(str(value)[:MAX_SHOWN])


@lru_cache
def _find_keys(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of the model and of all models inside of it."""
    schema = model.model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(key for part in parts for key in part.get("properties", {}))


def _build_pointer(location: tuple[int | str, ...], document: object, *, is_missing: bool) -> str:
    """Convert a location of pydantic to a JSON Pointer into the document.

    A location also contains the names of the union members that pydantic tried. They are omitted, because they are not
    keys of the document. The last part is no key of it either if the key is missing.
    """
    pointer = "#"
    current: Any = document
    for index, part in enumerate(location):
        inside = (isinstance(current, dict) and part in current) or (
            isinstance(current, list) and isinstance(part, int) and part < len(current)
        )
        if inside:
            current = current[part]
        elif not (is_missing and isinstance(current, dict) and index == len(location) - 1):
            continue
        pointer += f"/{escape_pointer(str(part))}"
    return pointer
