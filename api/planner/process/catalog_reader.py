"""What a spec may name, with arguments and defaults: read from Keras itself."""

import inspect
import re
from typing import Any

import keras

from api.planner.catalog import Argument, Catalog, DatasetEntry, Entry
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.networks.allow_list import FIXED_ARGUMENTS, LAYERS, PART_CLASSES
from shared.networks.augmentation import AUGMENTATIONS
from shared.networks.augmentation import FIXED_ARGUMENTS as SETTLED_FOR_AUGMENTATION
from shared.networks.objectives import CHOSEN_BY_SHAPE, LOSSES, UNUSABLE_METRICS
from shared.networks.optimizers import OPTIMIZERS, SCHEDULES

HIDDEN_ARGUMENTS = frozenset({"self", "kwargs", "args", *FIXED_ARGUMENTS})
TYPE_WORDS = {
    "bool": "boolean",
    "boolean": "boolean",
    "float": "number",
    "int": "integer",
    "integer": "integer",
    "list": "list",
    "str": "string",
    "string": "string",
    "tuple": "list",
}
"""What Keras calls an argument in its first words, as a type of JSON."""
FIRST_WORDS = 5
JSON_TYPES = {bool: "boolean", float: "number", str: "string", tuple: "list", list: "list"}
"""Of defaults; one that is a whole number may stand for a list of them, or for a fraction."""


def read_catalog() -> Catalog:
    residual = Entry(
        name="Residual",
        description="Adds what its layers make to what they were given, through a 1×1 projection where shapes differ.",
        arguments=[
            Argument(name="layers", type="list", required=True, description="Layers, each as in `network.layers`.")
        ],
    )
    return Catalog(
        layers=[*(_describe(keras.layers, name) for name in sorted(LAYERS)), residual],
        augmentation=[
            _describe(keras.layers, name, frozenset(SETTLED_FOR_AUGMENTATION)) for name in sorted(AUGMENTATIONS)
        ],
        activations=_list_activations(),
        **{
            f"{family}s": [_describe(getattr(keras, f"{family}s"), name) for name in sorted(PART_CLASSES[family])]
            for family in PART_CLASSES
        },
        optimizers=[_describe(keras.optimizers, name) for name in OPTIMIZERS],
        schedules=[_describe(keras.optimizers.schedules, name) for name in SCHEDULES],
        losses=[Entry(name=name, description=_summarise(keras.losses.get(name))) for name in LOSSES],
        metrics=_list_metrics(),
        datasets=[
            DatasetEntry(
                name=name,
                images=built_in.info.images,
                shape=built_in.info.shape,
                classes=built_in.info.classes,
                train_rows=built_in.info.train_rows,
                test_rows=built_in.info.test_rows,
            )
            for name, built_in in BUILTIN_DATASETS.items()
        ],
    )


def _describe(module: Any, name: str, left_out: frozenset[str] = frozenset()) -> Entry:  # noqa: ANN401 - keras is untyped
    described = getattr(module, name)
    texts = _parse_argument_texts(described)
    arguments = [
        _describe_argument(parameter, texts.get(parameter.name, ""))
        for parameter in inspect.signature(described.__init__).parameters.values()
        if parameter.name not in HIDDEN_ARGUMENTS | left_out
    ]
    return Entry(name=name, description=_summarise(described), arguments=arguments)


def _describe_argument(parameter: inspect.Parameter, text: str) -> Argument:
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    return Argument(
        name=parameter.name,
        type=_infer_type(parameter.name, default, text),
        required=required,
        default=list(default) if isinstance(default, tuple) else default,
        description=text,
    )


def _infer_type(name: str, default: object, text: str) -> str | None:
    family = name.rpartition("_")[2]
    if family in PART_CLASSES or family == "activation":
        return family
    if name == "name":
        return "string"
    if type(default) in JSON_TYPES:
        return JSON_TYPES[type(default)]
    words = re.findall(r"[a-z]+", text.lower())[:FIRST_WORDS]
    return next(
        (TYPE_WORDS[word] for word in words if word in TYPE_WORDS), "integer" if isinstance(default, int) else None
    )


def _parse_argument_texts(described: object) -> dict[str, str]:
    """The entries of the `Args:` of a docstring, each on one line."""
    _, _, after = inspect.getdoc(described).partition("\nArgs:\n")  # type: ignore[union-attr]
    section = re.split(r"\n(?=\S)", after)[0]
    entries = re.split(r"^ {4}(?=[\w*`])", section, flags=re.MULTILINE)[1:]
    texts = {}
    for entry in entries:
        names, _, text = entry.partition(":")
        for name in names.split(","):
            texts[name.strip(" *`")] = " ".join(text.split())
    return texts


def _summarise(described: object) -> str:
    """A docstring's first paragraph, on one line."""
    return " ".join((inspect.getdoc(described) or "").partition("\n\n")[0].split())


def _list_activations() -> list[str]:
    return sorted(
        name
        for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
        if name not in {"get", "serialize", "deserialize"} and keras.activations.get(name) is function
    )


def _list_metrics() -> list[Entry]:
    """All that can be made without arguments."""
    entries = dict.fromkeys(sorted(CHOSEN_BY_SHAPE), "Chosen by labels and outputs.")
    for name, metric in inspect.getmembers(keras.metrics, inspect.isclass):
        parameters = inspect.signature(metric.__init__).parameters.values()
        needed = [parameter for parameter in parameters if parameter.default is parameter.empty]
        kinds = {parameter.kind for parameter in needed if parameter.name != "self"}
        if name not in UNUSABLE_METRICS and kinds <= {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
            entries[name] = _summarise(metric)
    return [Entry(name=name, description=text) for name, text in entries.items()]
