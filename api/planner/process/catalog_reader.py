"""Read the catalog from Keras: everything that a spec can name, with arguments and defaults."""

import inspect
import re
from typing import Any

import keras

from api.planner.catalog import Catalog, CatalogArgument, CatalogEntry, DatasetEntry
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.networks.activations import list_activations
from shared.networks.allow_list import FIXED_ARGUMENTS, LAYERS, PART_CLASSES, WRAPPER_LAYERS
from shared.networks.augmentation import AUGMENTATIONS
from shared.networks.augmentation import FIXED_ARGUMENTS as SETTLED_FOR_AUGMENTATION
from shared.networks.layer_factory import MAX_PIECES, MIN_PIECES, WHITENING_ARGUMENTS, WHITENING_KERNEL_SIZE
from shared.networks.metrics import CHOSEN_BY_SHAPE, list_metric_names
from shared.networks.metrics import FIXED_ARGUMENTS as SETTLED_FOR_METRICS
from shared.networks.objectives import FIXED_LOSS_ARGUMENTS, LOSS_CLASSES
from shared.networks.optimizers import OPTIMIZERS, SCHEDULES

HIDDEN_ARGUMENTS = frozenset({"self", "kwargs", "args", *FIXED_ARGUMENTS})
"""Arguments of Keras classes that a spec cannot set."""
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
"""The type in JSON for a word in the description of an argument."""
CHANGED_FOR_WHITENING: dict[str, dict[str, Any]] = {
    "filters": {
        "required": False,
        "description": "Even integer, the number of filters: by default two for each number of a patch of the image.",
    },
    "kernel_size": {"required": False, "default": WHITENING_KERNEL_SIZE},
}
"""Changes to the arguments of Conv2D, by name: those of `Whitening` have other defaults."""
FIRST_WORDS = 5
"""Keras names the type of an argument in the first words of its description. Later words are not searched."""
JSON_TYPES = {bool: "boolean", float: "number", str: "string", tuple: "list", list: "list"}
"""The type in JSON for a default. `int` is missing: such an argument may also accept a list of integers or a float."""


def read_catalog() -> Catalog:
    """Read the catalog from the signatures and docstrings of Keras."""
    residual = CatalogEntry(
        name="Residual",
        description="Adds its input to the output of its layers, through a 1×1 projection if the shapes differ.",
        arguments=[
            CatalogArgument(
                name="layers", type="list", required=True, description="The layers, in the form of `network.layers`."
            )
        ],
    )
    layers = [_describe(keras.layers, name) for name in sorted(LAYERS)]
    wrappers = [_describe_wrapper(name) for name in WRAPPER_LAYERS]
    dense = _describe(keras.layers, "Dense")
    maxout = CatalogEntry(
        name="Maxout",
        description="Computes the largest of the outputs of several Dense layers: an activation that is learned.",
        arguments=[
            CatalogArgument(
                name="pieces",
                type="integer",
                required=False,
                default=MIN_PIECES,
                description=f"Integer, the number of Dense layers, {MIN_PIECES} to {MAX_PIECES}.",
            ),
            *(argument for argument in dense.arguments if argument.name != "activation"),
        ],
    )
    convolution = _describe(keras.layers, "Conv2D")
    whitening = CatalogEntry(
        name="Whitening",
        description="Conv2D, as the first layer, whose filters come from the training images and are not trained.",
        arguments=[
            argument.model_copy(update=CHANGED_FOR_WHITENING.get(argument.name, {}))
            for argument in convolution.arguments
            if argument.name in WHITENING_ARGUMENTS
        ],
    )
    return Catalog(
        layers=[*sorted((*layers, *wrappers), key=lambda entry: entry.name), maxout, residual, whitening],
        augmentation=[
            _describe(keras.layers, name, frozenset(SETTLED_FOR_AUGMENTATION)) for name in sorted(AUGMENTATIONS)
        ],
        activations=list_activations(),
        **{
            f"{family}s": [_describe(getattr(keras, f"{family}s"), name) for name in sorted(PART_CLASSES[family])]
            for family in PART_CLASSES
        },
        optimizers=[_describe(keras.optimizers, name) for name in OPTIMIZERS],
        schedules=[_describe(keras.optimizers.schedules, name) for name in SCHEDULES],
        losses=[
            _describe(keras.losses, loss.__name__, FIXED_LOSS_ARGUMENTS).model_copy(update={"name": name})
            for name, loss in LOSS_CLASSES.items()
        ],
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


def _describe(module: Any, name: str, left_out: frozenset[str] = frozenset()) -> CatalogEntry:  # noqa: ANN401 - keras is untyped
    described = getattr(module, name)
    texts = _parse_argument_texts(described)
    arguments = [
        _describe_argument(parameter, texts.get(parameter.name, ""))
        for parameter in inspect.signature(described.__init__).parameters.values()
        if parameter.name not in HIDDEN_ARGUMENTS | left_out
    ]
    return CatalogEntry(name=name, description=_summarise(described), arguments=arguments)


def _describe_wrapper(name: str) -> CatalogEntry:
    """Describe a layer with another layer inside, which a spec has in `layers`."""
    entry = _describe(keras.layers, name, frozenset({"layer", "backward_layer", "weights"}))
    inner = CatalogArgument(
        name="layers", type="list", required=True, description="The one layer inside, in the form of `network.layers`."
    )
    return entry.model_copy(update={"arguments": [inner, *entry.arguments]})


def _describe_argument(parameter: inspect.Parameter, text: str) -> CatalogArgument:
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    return CatalogArgument(
        name=parameter.name,
        type=_infer_type(parameter.name, default, text),
        required=required,
        default=list(default) if isinstance(default, tuple) else default,
        description=text,
    )


def _infer_type(name: str, default: object, text: str) -> str | None:
    """Infer the type of an argument from its name, its default, or its description. None if none of them tells it."""
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
    """Return the description of each argument in the `Args:` section of a docstring, on one line."""
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
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(described) or "").partition("\n\n")[0].split())


def _list_metrics() -> list[CatalogEntry]:
    by_shape = [
        CatalogEntry(name=name, description="Keras chooses the variant by the shapes of labels and outputs.")
        for name in sorted(CHOSEN_BY_SHAPE)
    ]
    left_out = SETTLED_FOR_METRICS | {"name"}
    return [*by_shape, *(_describe(keras.metrics, name, left_out) for name in list_metric_names())]
