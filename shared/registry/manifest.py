"""What a version says of itself: enough to serve it, to explain it, and to train it again."""

from typing import Any
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
    """`name` is None for data that stood in the spec; `digest` is the sha256 of what was read."""

    name: str | None
    digest: str
    rows: PartSizes


class Lineage(_Value):
    job: UUID
    spec: dict[str, Any]
    dataset: DatasetUsed
    seed: int
    libraries: dict[str, str]


class TensorSignature(_Value):
    """The first side, -1, is the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Signature(_Value):
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


class Metrics(_Value):
    """By name, on each part; None for a part without rows."""

    train: dict[str, float | None]
    validation: dict[str, float | None] | None
    test: dict[str, float | None] | None


class Epochs(_Value):
    """`trained` is less than `asked` where the training stopped early; `kept` is the one whose weights these are."""

    asked: int
    trained: int
    kept: int


class VersionManifest(_Value):
    """`classes` is empty for a version that answers numbers; `precision` is what it was trained in, and
    `weights_digest` the sha256 of all arrays. Of the test rows answered with less than the `confidence_threshold` at
    least half were answered wrongly; None where there is no such probability, or no test part. `columns` are the names
    of what a table's rows hold, where it had names.
    """

    model: str
    classes: tuple[str, ...]
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


class GoldenSample(_Value):
    """One input as a client would send it, a PNG in base64 or numbers, and what the network must answer to it."""

    b64: str | None = None
    numbers: list[Any] | None = None
    outputs: tuple[float, ...]


class ManifestFile(VersionManifest):
    """The content of version.json, which goes with the weights."""

    architecture: dict[str, Any]
    golden_samples: tuple[GoldenSample, ...]
