"""Check the arguments of Keras classes before Keras sees them."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from shared.errors import Fault, InvalidRequest
from shared.networks.allow_list import FIXED_ARGUMENTS, PART_CLASSES


def convert_arguments(made: type, arguments: dict[str, Any], pointer: str) -> dict[str, Any]:
    """JSON values as Keras wants them. It would look up any class by a mapping's word: only PARTS are let through."""
    parameters = inspect.signature(made.__init__).parameters  # type: ignore[misc]
    checked = {}
    for key, value in arguments.items():
        at = f"{pointer}/{key}"
        if key in FIXED_ARGUMENTS:
            raise build_error(at, f"{FIXED_ARGUMENTS[key].capitalize()}: leave it out.")
        default = parameters[key].default if key in parameters else None
        checked[key] = _convert_argument(key, value, default, at)
    return checked


def _convert_argument(key: str, value: Any, default: Any, at: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return _make_part(key, value, at)
    if isinstance(value, list) and any(isinstance(entry, dict | str) for entry in value):
        raise build_error(at, "A list here holds numbers.")
    if value is None:
        return None
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise build_error(at, f"{value!r} is neither true nor false.")
        return value
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise build_error(at, f"{value!r} is not a number.")
        return float(value)
    if isinstance(value, bool) and isinstance(default, int | str):
        raise build_error(at, f"{str(value).lower()} cannot stand here.")
    return value


def _make_part(key: str, value: dict[str, Any], at: str) -> Any:  # noqa: ANN401 - keras
    family = key.rpartition("_")[2]
    if family not in PART_CLASSES:
        raise build_error(at, "A mapping cannot stand here.")
    name = value.get("name")
    if name not in PART_CLASSES[family]:
        raise build_error(
            f"{at}/name", f"{name!r} is no {family} to build with: {', '.join(sorted(PART_CLASSES[family]))}."
        )
    part_class = getattr(getattr(keras, f"{family}s"), name)
    rest = {argument: given for argument, given in value.items() if argument != "name"}
    with translate_keras_errors(f"{name} cannot be made", at):
        return part_class(**convert_arguments(part_class, rest, at))


@contextmanager
def translate_keras_errors(what: str, pointer: str) -> Iterator[None]:
    try:
        yield
    except InvalidRequest:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise build_error(pointer, f"{what}: {extract_keras_message(error)}") from error


def extract_keras_message(error: BaseException) -> str:
    """Keras's own words, without the terminal colours, the name of the failing call and the dump of its arguments."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.sub(r"\AException encountered when calling [^\n]*\n\n", "", text)
    return text.partition("\n\nArguments received by")[0].strip() or type(error).__name__


def build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("What the spec describes cannot be built.", (Fault(pointer, detail),))
