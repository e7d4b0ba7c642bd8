"""Load the version that `network.from` names, and adapt its network and contract to the data of a training."""

from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from shared.database.tables.registry import Version
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import Fault, InvalidRequest, ModelNotFound, VersionNotFound
from shared.preprocessing.contract import KIND_NAMES, Contract, ImageContract, build_contract
from shared.preprocessing.text import TextContract, build_text_contract
from shared.registry import versions
from shared.registry.manifest import MANIFEST_FILE, GoldenSample, ManifestFile
from shared.spec.network import NetworkSpec
from shared.spec.preprocessing import Preprocessing
from shared.spec.training import TrainingSpec
from shared.storage.artifacts import ArtifactStore

POINTER = "#/network/from"
HEAD = "head"
"""The name of the last Dense layer if it is replaced."""
AFTER_HEAD = frozenset({"Activation", "Softmax"})
"""Layers that may follow the head."""


class PretrainedVersion(BaseModel):
    """A version to start from. `reference` is `model@number`; `architecture` is the JSON of Keras's `to_json()`."""

    model_config = ConfigDict(frozen=True)

    reference: str
    architecture: dict[str, Any]
    contract: Contract
    classes: tuple[str, ...]
    golden_samples: tuple[GoldenSample, ...]

    def adapt_network(self, info: DatasetInfo, freeze: tuple[str, ...]) -> NetworkSpec:
        """Return the network of the version, with a new head if the data have another number of classes or targets."""
        architecture = deepcopy(self.architecture)
        wanted = _count_outputs(info)
        if wanted is not None and wanted != (len(self.classes) or None):
            _replace_head(
                architecture, wanted, classes=info.targets not in (TargetKind.NUMBERS, TargetKind.MULTI_LABEL)
            )
        return NetworkSpec.model_construct(layers=None, keras=architecture, from_=None, freeze=freeze)

    def adapt_contract(self, preprocessing: Preprocessing, info: DatasetInfo) -> Contract:
        """Return the contract of the version with the keys that the spec sets.

        The statistics stay those of the version unless the spec sets another scale. Raises InvalidRequest if the data
        do not have the input shape of the version.
        """
        own = self.contract
        if info.kind != own.kind:
            raise _build_error(
                f"{self.reference} takes {KIND_NAMES[own.kind]}, and the data set contains {KIND_NAMES[info.kind]}. "
                "Use another."
            )
        if isinstance(own, TextContract):
            return _adapt_text_contract(own, preprocessing)
        contract = build_contract(_fill_defaults(preprocessing, own), info)
        if contract.scale is own.scale:
            contract = contract.model_copy(update={"normalisation": own.normalisation})
        if contract.input_shape != own.input_shape:
            raise _build_error(
                f"{self.reference} takes inputs of shape {list(own.input_shape)}, and data and preprocessing give "
                f"{list(contract.input_shape)}. Remove `size` and `color` from `preprocessing`, or use other data."
            )
        return contract


def find_pretrained(session: Session, network: NetworkSpec) -> Version | None:
    """Find the version that `network.from` names. Returns None if the spec has no such key.

    Raises InvalidRequest for a version that does not exist.
    """
    if network.from_ is None:
        return None
    model, separator, reference = network.from_.partition("@")
    try:
        if separator:
            return versions.get_version(session, model, reference)
        return versions.get_served_version(session, model)
    except (ModelNotFound, VersionNotFound) as error:
        raise _build_error(error.detail) from error


def pin_version(spec: TrainingSpec, version: Version | None) -> TrainingSpec:
    """Return the spec with the number of the version in `network.from`, so that a moved alias does not change it."""
    if version is None:
        return spec
    network = spec.network.model_copy(update={"from_": _format_reference(version)})
    return spec.model_copy(update={"network": network})


def read_pretrained(version: Version, artifacts: ArtifactStore) -> PretrainedVersion:
    """Read what a training needs of the version from version.json. Raises FileNotFound or ArtifactDamaged."""
    content = artifacts.read(versions.get_file(version, MANIFEST_FILE).sha256)
    description = ManifestFile.model_validate_json(content)
    return PretrainedVersion(
        reference=_format_reference(version),
        architecture=description.architecture,
        contract=description.preprocessing,
        classes=description.classes,
        golden_samples=description.golden_samples,
    )


def _format_reference(version: Version) -> str:
    return f"{version.model}@{version.reference}"


def _count_outputs(info: DatasetInfo) -> int | None:
    """Return the number of classes or targets, None if it depends on the loss."""
    match info.targets:
        case TargetKind.CLASSES:
            return len(info.classes)
        case TargetKind.ONE_HOT | TargetKind.MULTI_LABEL | TargetKind.NUMBERS:
            return info.target_width
        case TargetKind.INTEGERS:
            return len(info.classes) or None


def _replace_head(architecture: dict[str, Any], units: int, *, classes: bool) -> None:
    """Set the units of the last Dense layer in the JSON of Keras's `to_json()`, and rename it and its references.

    A sigmoid of a classifier becomes softmax. The JSON is unchanged if it does not end in a Dense layer.
    """
    layers = architecture["config"]["layers"]
    for index in range(len(layers) - 1, -1, -1):
        if layers[index]["class_name"] == "Dense":
            break
        if layers[index]["class_name"] not in AFTER_HEAD:
            return
    else:
        return
    head = layers[index]["config"]
    if head["units"] == units:
        return
    if classes and head.get("activation") == "sigmoid":
        head["activation"] = "softmax"
    _rename(architecture, head["name"], HEAD)
    head["units"] = units


def _rename(value: Any, old: str, new: str) -> None:  # noqa: ANN401 - JSON
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        if entry == old and key in ("name", 0):
            value[key] = new
        else:
            _rename(entry, old, new)


def _adapt_text_contract(own: TextContract, preprocessing: Preprocessing) -> TextContract:
    """Return the contract of the version. Raises InvalidRequest if the spec wants another one."""
    wanted = preprocessing.text
    if wanted is not None:
        asked = build_text_contract(wanted)
        for key in sorted(wanted.model_fields_set):
            field = "size" if key == "vocabulary" else key
            if getattr(asked, field) != getattr(own, field):
                detail = f"The version has {getattr(own, field)!s}, and its weights fit no other. Remove this key."
                fault = Fault(f"#/preprocessing/text/{key}", detail)
                raise InvalidRequest("The training cannot start from this version.", (fault,))
    return own


def _fill_defaults(preprocessing: Preprocessing, own: Contract) -> Preprocessing:
    if not isinstance(own, ImageContract):
        return preprocessing if preprocessing.scale else preprocessing.model_copy(update={"scale": own.scale})
    kept = {
        "size": own.size,
        "color": own.color,
        "interpolation": own.interpolation,
        "fit": own.fit,
        "background": own.background if len(own.background) > 1 else own.background[0],
        "scale": own.scale,
        "invert": own.invert,
        "mirror": own.mirror,
    }
    return preprocessing.model_copy(
        update={key: value for key, value in kept.items() if getattr(preprocessing, key) is None}
    )


def _build_error(detail: str) -> InvalidRequest:
    return InvalidRequest("The training cannot start from this version.", (Fault(POINTER, detail),))
