"""Define the manifest of a version: the data to serve it, to explain it, and to train it again."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.datasets.splits import PartSizes
from shared.networks.layer_row import LayerRow
from shared.preprocessing.contract import Contract
from shared.spec.training import Precision

INPUT_NAME = "input"
OUTPUT_NAME = "output"
MANIFEST_FILE = "version.json"
ONNX_FILE = "model.onnx"
TENSORBOARD_FILE = "tensorboard.zip"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class DatasetUsed(_Value):
    """The data set of a training.

    `name` is None for inline data. `digest` is the sha256 of all data that were read, before `limit` and the split.
    """

    name: str | None
    digest: str
    rows: PartSizes


class Lineage(_Value):
    """The origin of a version. `libraries` are the versions of the libraries that affect the weights."""

    job: UUID
    spec: dict[str, Any]
    dataset: DatasetUsed
    seed: int
    libraries: dict[str, str]


class TensorSignature(_Value):
    """An input or output of the network. The first dimension of `shape` is the batch, -1."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Signature(_Value):
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


Part = Literal["test", "validation", "train"]
"""A part of a data set."""


class Metrics(_Value):
    """Loss and metrics by name, for each part of the data; None for a part without rows.

    Attributes:
        train: those of the kept weights on up to 10,000 training rows (2,500 after a short training). Older versions
            have `last_epoch` here.
        last_epoch: the running means of the epoch whose weights were kept; None for older versions.
    """

    train: dict[str, float | None]
    last_epoch: dict[str, float | None] | None = None
    validation: dict[str, float | None] | None
    test: dict[str, float | None] | None

    def choose_headline(self) -> tuple[Part, str, float] | None:
        """Choose the one number that tells how good a version is: its part, its name and its value.

        It is an accuracy if there is one, else the first metric, else the loss, on the test part if there is one, else
        on the validation part, else on the training part. Returns None if none of them is finite.
        """
        parts: tuple[Part, ...] = ("test", "validation", "train")
        for part in parts:
            known = {name: value for name, value in (getattr(self, part) or {}).items() if value is not None}
            ordered = sorted(known, key=lambda name: (name == "loss", "accuracy" not in name))
            if ordered:
                return part, ordered[0], known[ordered[0]]
        return None


class Epochs(_Value):
    """The epochs of a training. `trained` is less than `asked` if it stopped early; `kept` is the epoch published."""

    asked: int
    trained: int
    kept: int


class VersionManifest(_Value):
    """The description of a version.

    The database holds it without the vocabulary of texts, which can take megabytes.

    Attributes:
        classes: the class names, in order of the outputs; empty for a regression.
        labels: the names of labels of which an input can have several, in order of the outputs; else empty.
        columns: the names of a table's columns; empty if it had none.
        precision: that of the training.
        weights_digest: the sha256 of all weights.
        confidence_threshold: predictions with a lower probability are wrong more often than right, measured on the
            validation part. None if there is no such probability, no held-out rows, or for a regression.
    """

    model: str
    classes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    preprocessing: Contract
    signature: Signature
    parameters: int
    trainable_parameters: int
    layers: list[LayerRow]
    metrics: Metrics
    epochs: Epochs
    precision: Precision
    weights_digest: str
    confidence_threshold: float | None = None
    lineage: Lineage

    def dump(self) -> dict[str, Any]:
        """Return the JSON for the database."""
        return self.model_dump(mode="json", exclude={"preprocessing": {"vocabulary"}})


class GoldenSample(_Value):
    """An input as a client sends it, an image in base64, a text or numbers; and the outputs of the network for it."""

    b64: str | None = None
    text: str | None = None
    numbers: list[Any] | None = None
    outputs: tuple[float, ...]


class ManifestFile(VersionManifest):
    """The content of version.json.

    Attributes:
        architecture: the network as `to_json()` of Keras prints it.
        tolerance: the largest difference from the golden outputs, in the scale of `compute_max_difference`; None for
            the usual one.
    """

    architecture: dict[str, Any]
    tolerance: float | None = None
    golden_samples: tuple[GoldenSample, ...]
