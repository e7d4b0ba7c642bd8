"""Describe the inputs and outputs of an imported model, and its preprocessing."""

import math
from dataclasses import replace
from typing import Any

from shared.database.tables.registry import Version
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import Fault, InvalidRequest
from shared.networks.keras_json import parse_keras_json
from shared.preprocessing.contract import Contract, ImageContract, build_contract
from shared.preprocessing.normalisation import Normalisation
from shared.preprocessing.text import TextContract
from shared.registry.manifest import VersionManifest
from shared.spec.dataset import DatasetSpec
from shared.spec.fields import MAX_SIDE
from shared.spec.model_import import ImportMeaning, ImportSpec
from shared.spec.network import MAX_LAYERS, NetworkSpec
from shared.spec.preprocessing import Color, Preprocessing, Scale
from shared.spec.text import MAX_LENGTH, TextPreprocessing, Unknown
from shared.spec.training import LossSpec, TrainingSpec

IMPORTED = "imported"
"""The key of `lineage.spec` that tells an imported version."""
IMAGE_RANK = 3
IMAGE_CHANNELS = (1, 3)
INPUT_LAYERS = ("Input", "InputLayer")
MAX_NUMBERS = 2**18
"""The most numbers of an input that is no image. Samples of it are in the document of the version, as JSON."""


def is_imported(manifest: VersionManifest | dict[str, Any]) -> bool:
    """Return whether a version was imported: it has no data set and no training spec."""
    spec = manifest["lineage"]["spec"] if isinstance(manifest, dict) else manifest.lineage.spec
    return IMPORTED in spec


def check_has_data(version: Version, what: str) -> None:
    """Check that a version was trained here. `version` has its manifest; `what` says what needs the data.

    Raises InvalidRequest.
    """
    if is_imported(version.manifest):
        detail = (
            f"Version {version.reference} of {version.model!r} was imported, and {what} needs the data of a training."
        )
        raise InvalidRequest(detail)


def describe_import(meaning: ImportMeaning, network: NetworkSpec) -> DatasetInfo:
    """Describe the data that an imported model takes, as one row. Raises InvalidRequest."""
    kind, shape = _choose_kind(meaning, find_declared_shape(network))
    _check_size(kind, shape)
    common: dict[str, Any] = {"images": kind == "images", "texts": kind == "texts", "train_rows": 1, "test_rows": 0}
    if meaning.labels is not None:
        labels = tuple(meaning.labels)
        return DatasetInfo(shape, targets=TargetKind.MULTI_LABEL, classes=labels, target_width=len(labels), **common)
    if meaning.classes is None:
        width = _find_output_width(meaning, network)
        return DatasetInfo(shape, targets=TargetKind.NUMBERS, target_width=width, **common)
    classes = meaning.classes
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    return DatasetInfo(shape, targets=TargetKind.CLASSES, classes=names, **common)


def complete_meaning(meaning: ImportMeaning, info: DatasetInfo) -> ImportMeaning:
    """Return the meaning with the keys of `preprocessing` that the network and the vocabulary determine.

    Raises InvalidRequest for a key that has another value.
    """
    given = meaning.preprocessing
    _check_preprocessing(given, info)
    if info.images and given.size is None:
        return meaning.model_copy(update={"preprocessing": given.model_copy(update={"size": "data"})})
    if not info.texts:
        return meaning
    text = given.text or TextPreprocessing()
    found: dict[str, int] = {"length": info.shape[0]}
    if "vocabulary" not in text.model_fields_set:
        words = meaning.vocabulary or []
        has_unknown = isinstance(words, dict) and min(words.values()) == 1
        found["vocabulary"] = len(words) + (2 if text.unknown is Unknown.TOKEN and not has_unknown else 1)
    text = TextPreprocessing.model_validate(text.model_dump() | found)
    return meaning.model_copy(update={"preprocessing": given.model_copy(update={"text": text})})


def build_import_contract(meaning: ImportMeaning, info: DatasetInfo) -> Contract:
    """Build the contract of an imported model from a meaning of `complete_meaning`. Raises InvalidRequest."""
    wanted = meaning.preprocessing
    if info.texts:
        info = DatasetInfo((), images=False, targets=info.targets, train_rows=1, test_rows=0, texts=True)
    contract = build_contract(wanted, info)
    if isinstance(contract, TextContract):
        return _add_vocabulary(contract, meaning)
    if contract.scale is Scale.STANDARDIZE and meaning.scaling is None:
        raise _refuse("#/scaling", "`scale: standardize` needs the mean as `offset` and the deviation as `divisor`.")
    if meaning.scaling is None:
        return contract
    if contract.scale is not Scale.STANDARDIZE:
        raise _refuse(
            "#/scaling", "`scaling` is for `scale: standardize`. Set it in `preprocessing`, or remove this key."
        )
    offset, divisor = meaning.scaling.offset, meaning.scaling.divisor
    for name, numbers in (("offset", offset), ("divisor", divisor)):
        if len(numbers) not in (1, contract.input_shape[-1]):
            detail = f"`{name}` has {len(numbers)} numbers. Give 1, or {contract.input_shape[-1]}: one for each."
            raise _refuse(f"#/scaling/{name}", detail)
    return contract.model_copy(update={"normalisation": Normalisation(offset=offset, divisor=divisor)})


def find_import_loss(meaning: ImportMeaning, network: NetworkSpec) -> LossSpec | None:
    """Return the loss of logits, which tells what activation is appended to the network; None for other outputs."""
    if not meaning.from_logits:
        return None
    is_binary = meaning.labels is not None or _find_output_width(meaning, network) == 1
    name = "binary_crossentropy" if is_binary else "sparse_categorical_crossentropy"
    return LossSpec.model_validate({"name": name, "from_logits": True})


def make_plan_spec(spec: ImportSpec, info: DatasetInfo, contract: Contract) -> tuple[TrainingSpec, DatasetInfo]:
    """Return a training of no epoch whose plan checks the network of an import, and the data that it is planned for."""
    preprocessing = Preprocessing()
    if isinstance(contract, TextContract):
        text = TextPreprocessing(vocabulary=contract.size, length=contract.length)
        info, preprocessing = replace(info, shape=()), Preprocessing(text=text)
    elif isinstance(contract, ImageContract):
        preprocessing = Preprocessing(size=contract.size, color=contract.color)
    planned = TrainingSpec.model_validate(
        {
            "model": spec.model,
            "dataset": DatasetSpec(name=IMPORTED),
            "preprocessing": preprocessing,
            "network": spec.network,
            "training": {
                "epochs": 0,
                "loss": "mse" if info.targets is TargetKind.NUMBERS else find_import_loss(spec.meaning, spec.network),
            },
        }
    )
    return planned, info


def find_declared_shape(network: NetworkSpec) -> tuple[int, ...]:
    """Return the shape of the input that a network declares. Raises InvalidRequest if it declares none."""
    if network.layers is not None:
        first = network.layers[0]
        declared = first.arguments.get("shape" if first.layer in INPUT_LAYERS else "input_shape")
        sides = declared if isinstance(declared, list) else [declared]
    else:
        sides = list(parse_keras_json(network.keras or {}, MAX_LAYERS).layers[0].declared_shape or [None])
    if not sides or not all(type(side) is int and 0 < side < 2**31 for side in sides):
        if network.layers is not None:
            detail = (
                "The network does not say what it takes. Give its first layer an `input_shape`, such as [28, 28, 1]."
            )
            raise _refuse("#/network/layers/0", detail)
        detail = (
            f"The network declares the input shape {sides}. Give each side a size in its first layer, and save again."
        )
        raise _refuse("#/file", detail)
    return tuple(sides)


def _find_output_width(meaning: ImportMeaning, network: NetworkSpec) -> int:
    """Return the number of outputs: the units of the last layer, else those of the samples, else 1."""
    if network.layers is not None:
        units = network.layers[-1].arguments.get("units")
    else:
        read = parse_keras_json(network.keras or {}, MAX_LAYERS)
        units = read.layers[read.calls[-1].layer].arguments.get("units")
    if type(units) is int:
        return units
    first = meaning.samples.outputs[0] if meaning.samples is not None else 0
    return len(first) if isinstance(first, list) else 1


def _choose_kind(meaning: ImportMeaning, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    is_image = len(shape) == IMAGE_RANK and shape[-1] in IMAGE_CHANNELS
    kind = meaning.kind or ("texts" if meaning.vocabulary is not None else "images" if is_image else "numbers")
    if kind == "images" and not is_image:
        raise _refuse(
            "#/kind", f"The network takes inputs of shape {list(shape)}, and images are height × width × 1 or 3."
        )
    if kind == "texts" and (len(shape) != 1 or meaning.vocabulary is None):
        raise _refuse(
            "#/vocabulary", "A model of texts takes one sequence of word indices, and needs its `vocabulary`."
        )
    if kind != "texts" and meaning.vocabulary is not None:
        raise _refuse("#/vocabulary", f"`vocabulary` is for texts, and the model takes {kind}. Remove the key.")
    return kind, shape


def _check_size(kind: str, shape: tuple[int, ...]) -> None:
    """Check that an input is not larger than those of networks that are trained here. Raises InvalidRequest."""
    limit = ""
    if kind == "images" and max(shape[:2]) > MAX_SIDE:
        limit = f"images have at most {MAX_SIDE} × {MAX_SIDE} pixels"
    elif kind == "texts" and shape[0] > MAX_LENGTH:
        limit = f"texts have at most {MAX_LENGTH:,} word indices"
    elif kind == "numbers" and math.prod(shape) > MAX_NUMBERS:
        limit = f"inputs have at most {MAX_NUMBERS:,} numbers"
    if limit:
        raise _refuse(
            "#/file", f"The network takes inputs of shape {list(shape)}, and {limit}. Make a smaller network."
        )


def _check_preprocessing(given: Preprocessing, info: DatasetInfo) -> None:
    """Check the keys that the input of the network determines. Raises InvalidRequest."""
    text = given.text
    if info.texts and text is not None and "length" in text.model_fields_set and text.length != info.shape[0]:
        raise _refuse(
            "#/preprocessing/text/length",
            f"The network takes {info.shape[0]} word indices, not {text.length}. Set {info.shape[0]}, or leave the "
            "key out.",
        )
    color = {1: Color.GRAYSCALE, 3: Color.RGB}.get(info.shape[-1]) if info.images else None
    if color is not None and given.color not in (None, color):
        raise _refuse(
            "#/preprocessing/color",
            f"The network takes images of {info.shape[-1]} channels. Set `{color}`, or leave the key out.",
        )


def _add_vocabulary(contract: TextContract, meaning: ImportMeaning) -> TextContract:
    """Return the contract with the words, which must have the indices of a Tokenizer of Keras."""
    given = meaning.vocabulary or []
    words = list(given)
    first = contract.first_index
    if isinstance(given, dict):
        words = sorted(given, key=lambda word: given[word])
        indices = [given[word] for word in words]
        if first > 1 and indices[0] == 1:  # a Tokenizer counts `oov_token` among the words
            words, indices = words[1:], indices[1:]
        if indices != list(range(first, first + len(words))):
            raise _refuse(
                "#/vocabulary",
                f"The indices must be {first}, {first + 1}, … without gaps, as a Tokenizer numbers them.",
            )
    if len(set(words)) < len(words):
        raise _refuse("#/vocabulary", "A word is in the vocabulary twice.")
    if contract.lower and (capital := next((word for word in words if word != word.lower()), None)) is not None:
        raise _refuse(
            "#/vocabulary",
            f"{capital!r} has capital letters, and all letters of a text become small. Set `preprocessing.text.lower` "
            "to false; or, if it stands for unknown words, `preprocessing.text.unknown` to `token`.",
        )
    return contract.model_copy(update={"vocabulary": tuple(words[: contract.size - first])})


def _refuse(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The model cannot be imported.", (Fault(pointer, detail),))
