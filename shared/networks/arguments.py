"""Check and convert the arguments of Keras classes before Keras receives them."""

import functools
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from shared.errors import Fault, InvalidRequest, suggest
from shared.networks.activations import OWN_ACTIVATIONS, UNUSABLE_ACTIVATIONS, list_activations
from shared.networks.allow_list import FIXED_ARGUMENTS, PART_CLASSES

OLD_NAMES = {
    "lr": "It is called `learning_rate`.",
    "decay": "Use `training.learning_rate_schedule`, such as `{name: InverseTimeDecay, decay_rate: 0.01}`.",
    "input_dim": "Remove it: the input shape follows from the data.",
    "input_length": "Remove it: the length follows from the data.",
    "nb_filter": "It is called `filters`.",
    "border_mode": "It is called `padding`.",
    "init": "It is called `kernel_initializer`.",
    "W_regularizer": "It is called `kernel_regularizer`.",
    "b_regularizer": "It is called `bias_regularizer`.",
    "subsample": "It is called `strides`.",
    "dim_ordering": "Remove it: images are always (height, width, channels).",
    "p": "It is called `rate`.",
}
"""Arguments of old releases of Keras, and what to do today. Keras ignores some of them."""
MAX_ENTRIES = 100
"""The most entries of a list in an argument. Some Keras classes build an operation for each entry."""


STATISTICS = frozenset({"mean", "variance", "scale", "offset"})
"""Arguments of Normalization and Rescaling that can have a number for each column of a table."""
MAX_STATISTICS = 10_000


def convert_arguments(keras_class: type, arguments: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Convert JSON values to the arguments of a Keras class. Raises InvalidRequest.

    Keras itself would deserialise any class that a mapping names. Here a mapping can only name a class of PART_CLASSES.
    """
    parameters = inspect.signature(keras_class.__init__).parameters  # type: ignore[misc]
    accepted = _find_accepted(keras_class)
    checked = {}
    for key, value in arguments.items():
        at = f"{pointer}/{key}"
        if key in FIXED_ARGUMENTS:
            raise build_error(at, f"{FIXED_ARGUMENTS[key].capitalize()}. Remove this argument.")
        if key in OLD_NAMES and key not in parameters:
            raise build_error(at, f"{keras_class.__name__} has no argument {key!r}. {OLD_NAMES[key]}")
        if key not in accepted:
            remedy = suggest(key, accepted) or " Remove it."
            raise build_error(at, f"{keras_class.__name__} has no argument {key!r}.{remedy}")
        default = parameters[key].default if key in parameters else None
        checked[key] = _convert_argument(key, value, default, at)
    return checked


@functools.cache
def _find_accepted(keras_class: type) -> frozenset[str]:
    """Return the names of the parameters of a class and of its base classes, to which it passes others on."""
    own = [vars(base)["__init__"] for base in keras_class.__mro__ if "__init__" in vars(base)]
    names = (name for method in own for name in inspect.signature(method).parameters)
    return frozenset(names) - {"self", "args", "kwargs"}


def _convert_argument(key: str, value: Any, default: Any, at: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return _make_part(key, value, at)
    if isinstance(value, list):
        _check_list(key, value, at)
    if value is None:
        return None
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise build_error(at, f"This argument must be true or false, not {value!r}.")
        return value
    if key in STATISTICS and isinstance(value, list):
        return value
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise build_error(at, f"This argument must be a number, not {value!r}.")
        return float(value)
    if isinstance(value, bool) and isinstance(default, int | str):
        raise build_error(at, f"This argument must be a number or a string, not {str(value).lower()}.")
    return _resolve_activation(value, at) if key.endswith("activation") else value


def _resolve_activation(value: object, at: str) -> object:
    """Return the function of an activation of Trainyard, and others as they are. Raises InvalidRequest."""
    name = str(value)
    if name in UNUSABLE_ACTIVATIONS:
        raise build_error(at, f"{name!r} cannot be an activation: {UNUSABLE_ACTIVATIONS[name]}")
    return OWN_ACTIVATIONS.get(name, value)


def _check_list(key: str, value: list[Any], at: str) -> None:
    limit = MAX_STATISTICS if key in STATISTICS else MAX_ENTRIES
    if (length := _count_entries(value)) > limit:
        raise build_error(at, f"This list has {length:,} entries; the limit is {limit:,}. Use fewer.")
    if any(isinstance(entry, dict | str) for entry in value):
        raise build_error(at, "A list must contain only numbers. Remove strings and mappings from the list.")


def _count_entries(value: object) -> int:
    """Count the entries of a list and of all lists in it."""
    return sum(1 + _count_entries(entry) for entry in value) if isinstance(value, list) else 0


def _make_part(key: str, value: dict[str, Any], at: str) -> Any:  # noqa: ANN401 - keras
    family = key.rpartition("_")[2]
    if family not in PART_CLASSES:
        raise build_error(
            at, "This argument cannot be a mapping. Only an initializer, a regularizer or a constraint can be one."
        )
    name = value.get("name")
    if name not in PART_CLASSES[family]:
        raise build_error(
            f"{at}/name",
            f"{name!r} is not an allowed {family}.{suggest(str(name), PART_CLASSES[family])} "
            f"Use one of: {', '.join(sorted(PART_CLASSES[family]))}.",
        )
    part_class = getattr(getattr(keras, f"{family}s"), name)
    rest = {argument: given for argument, given in value.items() if argument != "name"}
    with translate_keras_errors(f"{name} cannot be created", at):
        return part_class(**convert_arguments(part_class, rest, at))


GRAPH_ERROR = "Graph execution error"
"""How the message of an error inside of a graph of TensorFlow begins."""


@contextmanager
def translate_keras_errors(what: str, pointer: str) -> Iterator[None]:
    """Convert an exception of Keras to InvalidRequest at `pointer`. Its detail is `what`, then Keras's message."""
    try:
        yield
    except InvalidRequest:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise build_error(pointer, f"{what}: {extract_keras_message(error)}") from error


def extract_keras_message(error: BaseException) -> str:
    """Return Keras's message without terminal colours, the name of the failing call and the dump of its arguments."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.sub(r"\AException encountered when calling [^\n]*\n\n", "", text)
    text = text.partition("\n\nArguments received by")[0].strip()
    if text.startswith(GRAPH_ERROR):  # a trace of Python, and after it a blank line and the message of the operation
        text = re.split(r"\n\n(?=\S)", text)[-1].partition("\n\t [[")[0].strip()
    if missing := re.search(r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)", text):
        return f"{missing[1]} must be given."
    if unknown := re.fullmatch(r"Could not interpret activation function identifier: (.+)", text):
        return f"There is no activation {unknown[1]!r}.{suggest(unknown[1], list_activations())}"
    return text or type(error).__name__


def build_error(pointer: str, detail: str) -> InvalidRequest:
    """Build the error for one fault of the spec; `pointer` is its JSON pointer."""
    return InvalidRequest("Keras cannot build what the spec describes.", (Fault(pointer, detail),))
