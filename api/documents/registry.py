"""Define the documents about models, versions and aliases."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.documents.base import Document
from shared.networks.layer_row import LayerRow
from shared.preprocessing.contract import Contract
from shared.registry.manifest import Epochs, Lineage, Metrics, Signature
from shared.spec.training import Precision


class ModelDocument(Document):
    name: str
    latest: int = Field(description="The number of the newest version")
    versions: int = Field(description="How many there are")
    aliases: dict[str, int]
    created_at: datetime


class ModelList(Document):
    models: list[ModelDocument]
    next: str | None


class FileDocument(Document):
    name: str
    size: int = Field(description="Bytes")
    sha256: str
    href: str


class VersionSummary(Document):
    model: str
    version: int
    aliases: list[str]
    metrics: Metrics
    created_at: datetime


class VersionDocument(VersionSummary):
    """`classes` is empty for a version that answers numbers."""

    classes: list[str]
    columns: list[str] = Field(default=[], description="Of a table whose columns had names")
    preprocessing: Contract
    signature: Signature
    parameters: int
    trainable_parameters: int
    epochs: Epochs
    precision: Precision = Field(description="Of the training; all that is done with the weights is float32")
    weights_digest: str = Field(description="sha256 of all arrays")
    confidence_threshold: float | None = Field(
        default=None, description="Of the test rows answered with less, at least half were answered wrongly"
    )
    lineage: Lineage
    files: list[FileDocument]


class LayerList(Document):
    """In the order of the network; shapes are without the batch."""

    layers: list[LayerRow]
    parameters: int
    trainable_parameters: int


class SelfTest(Document):
    """The golden samples once more, through the path that serves; what does not pass is not served."""

    model: str
    version: int
    passed: bool
    samples: int = Field(description="How many there are; 0 where the version's files cannot be read")
    difference: float | None = Field(description="The largest from what Keras answered when the version was made")
    tolerance: float
    detail: str | None = Field(description="Why it did not pass")


class VersionList(Document):
    versions: list[VersionSummary]
    next: str | None


class AliasTarget(BaseModel):
    """Where an alias is to point."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(strict=True, ge=1)


class AliasDocument(Document):
    model: str
    alias: str
    version: int
