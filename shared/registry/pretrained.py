"""Versions to start from: what `network.from` names, as a network that a training can build on."""

from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from shared.database.tables.registry import Version
from shared.datasets.info import DatasetFacts, TargetKind
from shared.errors import Fault, InvalidRequest, ModelNotFound, VersionNotFound
from shared.preprocessing.contract import Contract, ImageContract, NumbersContract, contract_of
from shared.registry import versions
from shared.registry.manifest import DESCRIPTION_FILE, DescriptionFile, GoldenSample
from shared.spec.network import Network
from shared.spec.preprocessing import Preprocessing
from shared.spec.training import TrainingSpec
from shared.storage.artifacts import ArtifactStore

AT = "#/network/from"
HEAD = "head"
"""What the last Dense layer is named where it is made anew."""
BEHIND_THE_HEAD = frozenset({"Activation", "Softmax"})


class Base(BaseModel):
    """A version to start from; `reference` is its name and number."""

    model_config = ConfigDict(frozen=True)

    reference: str
    architecture: dict[str, Any]
    contract: Contract
    classes: tuple[str, ...]
    golden_samples: tuple[GoldenSample, ...]

    def network(self, facts: DatasetFacts, freeze: tuple[str, ...]) -> Network:
        """Its own; with a head made anew, where these data have another number of classes or targets."""
        architecture = deepcopy(self.architecture)
        wanted = _outputs(facts)
        if wanted is not None and wanted != (len(self.classes) or None):
            _replace_head(architecture, wanted, classes=facts.targets is not TargetKind.NUMBERS)
        return Network.model_construct(layers=None, keras=architecture, from_=None, freeze=freeze)

    def contract_for(self, preprocessing: Preprocessing, facts: DatasetFacts) -> ImageContract | NumbersContract:
        """Its own, but for what the spec says; its statistics too, unless the spec asks for another scale."""
        own = self.contract
        if facts.images != isinstance(own, ImageContract):
            here, there = ("images", "rows of numbers") if facts.images else ("rows of numbers", "images")
            raise _invalid(f"{self.reference} takes {there}, and the data set holds {here}.")
        contract = contract_of(_completed(preprocessing, own), facts)
        if contract.scale is own.scale:
            contract = contract.model_copy(update={"normalisation": own.normalisation})
        if contract.input_shape != own.input_shape:
            raise _invalid(
                f"{self.reference} takes {list(own.input_shape)}, and the data make {list(contract.input_shape)}."
            )
        return contract


def find_base(session: Session, network: Network) -> Version | None:
    """None for a network that stands in the spec itself. Raises InvalidRequest for a version that is not there."""
    if network.from_ is None:
        return None
    model, separator, reference = network.from_.partition("@")
    try:
        if separator:
            return versions.get_version(session, model, reference)
        return versions.get_served_version(session, model)
    except (ModelNotFound, VersionNotFound) as error:
        raise _invalid(error.detail) from error


def pinned(spec: TrainingSpec, version: Version | None) -> TrainingSpec:
    """With the number of the version that `network.from` means now."""
    if version is None:
        return spec
    network = spec.network.model_copy(update={"from_": _reference(version)})
    return spec.model_copy(update={"network": network})


def read_base(version: Version, artifacts: ArtifactStore) -> Base:
    """Raises ArtifactDamaged."""
    content = artifacts.read(versions.get_file(version, DESCRIPTION_FILE).sha256)
    description = DescriptionFile.model_validate_json(content)
    return Base(
        reference=_reference(version),
        architecture=description.architecture,
        contract=description.preprocessing,
        classes=description.classes,
        golden_samples=description.golden_samples,
    )


def _reference(version: Version) -> str:
    return f"{version.model}@{version.number}"


def _outputs(facts: DatasetFacts) -> int | None:
    """None where only the loss can say."""
    match facts.targets:
        case TargetKind.CLASSES:
            return len(facts.classes)
        case TargetKind.ONE_HOT | TargetKind.NUMBERS:
            return facts.target_width
        case TargetKind.INTEGERS:
            return len(facts.classes) or None


def _replace_head(architecture: dict[str, Any], units: int, *, classes: bool) -> None:
    """Keras's own JSON, as `to_json()` printed it: every entry that names the layer is renamed with it."""
    layers = architecture["config"]["layers"]
    for place in range(len(layers) - 1, -1, -1):
        if layers[place]["class_name"] == "Dense":
            break
        if layers[place]["class_name"] not in BEHIND_THE_HEAD:
            return
    else:
        return
    head = layers[place]["config"]
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


def _completed(preprocessing: Preprocessing, own: Contract) -> Preprocessing:
    if isinstance(own, NumbersContract):
        return preprocessing if preprocessing.scale else preprocessing.model_copy(update={"scale": own.scale})
    kept = {
        "size": own.size,
        "color": own.color,
        "interpolation": own.interpolation,
        "fit": own.fit,
        "background": own.background if len(own.background) > 1 else own.background[0],
        "scale": own.scale,
        "invert": own.invert,
    }
    return preprocessing.model_copy(
        update={key: value for key, value in kept.items() if getattr(preprocessing, key) is None}
    )


def _invalid(detail: str) -> InvalidRequest:
    return InvalidRequest("The training cannot start from there.", (Fault(AT, detail),))
