"""Define the documents about models, versions and aliases."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.documents.base import Document
from shared.database.tables.registry import Model, Version
from shared.networks.layer_row import LayerRow
from shared.preprocessing.contract import Contract
from shared.registry import aliases, versions
from shared.registry.manifest import Epochs, Lineage, Metrics, Part, Signature
from shared.spec.fields import Notes, ProjectName
from shared.spec.training import Precision


class Headline(Document):
    """The one number that tells how good a version is: the accuracy if it has one, else its first metric, or the loss.

    It is measured on the test part, else on the validation part, else on the training part.
    """

    part: Part
    name: str
    value: float


class ModelDocument(Document):
    """A model, which is a name with numbered versions. `aliases` maps each alias to the number of its version."""

    name: str
    latest: int = Field(description="The number of the newest version.")
    versions: int = Field(description="The number of versions.")
    aliases: dict[str, int]
    description: str
    project: str
    predictions: Literal["project", "public"] = Field(
        description="Who may ask it: the project, or with `public` everybody, without a key."
    )
    served: int = Field(description="The number of the version that answers predictions that name none.")
    headline: Headline | None = Field(description="The main metric of that version; null if it was not measured.")
    created_at: datetime


class ModelEdit(BaseModel):
    """The changes of a model. A key that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Notes | None = None
    predictions: Literal["project", "public"] | None = Field(
        default=None, description="With `public`, everybody may ask it for predictions, without a key."
    )
    project: ProjectName | None = Field(
        default=None, description="Only for an admin: move the model, with its versions and jobs, to another project."
    )


class ModelList(Document):
    """A page of models. `next` is the cursor of the next page; null if no page follows."""

    models: list[ModelDocument]
    next: str | None


class FileDocument(Document):
    """A file of a version. `href` is the path of its download."""

    name: str
    size: int = Field(description="The size in bytes.")
    sha256: str
    href: str


class VersionSummary(Document):
    """A version in a list. `aliases` are the aliases that point to it."""

    model: str
    version: int | None = Field(description="Null for a candidate, which is not published.")
    aliases: list[str]
    metrics: Metrics
    created_at: datetime


class VersionDocument(VersionSummary):
    """A version.

    `classes` are the class labels in the order of the outputs. They are empty for a regression, and if an input can
    have several `labels`.
    """

    classes: list[str]
    labels: list[str] = Field(
        default=[], description="The labels of which an input can have several, in the order of the outputs."
    )
    columns: list[str] = Field(
        default=[], description="The names of the input columns of an uploaded CSV; empty for other data."
    )
    preprocessing: Contract
    scaled_by: Literal["version"] = Field(
        default="version",
        description=(
            "Who scales the inputs. The version applies `preprocessing` to a row of a table in every wire format, to "
            "an encoded image, and to pixels: UINT8 tensors, and whole numbers of which one in the request exceeds 1. "
            "Floating-point numbers of an image are the network's input as it stands. The header `Trainyard-Input` of "
            "a response tells which of both they were, `pixels` or `network`."
        ),
    )
    signature: Signature
    parameters: int
    trainable_parameters: int
    epochs: Epochs
    precision: Precision = Field(
        description="The precision of the training. The evaluation, the files and the predictions use float32."
    )
    weights_digest: str = Field(description="sha256 of all weights.")
    confidence_threshold: float | None = Field(
        default=None,
        description=(
            "Predictions with a lower probability are wrong more often than right, measured on the validation part, or "
            "on the test part without validation rows. Null without such a probability, and for a regression."
        ),
    )
    lineage: Lineage
    files: list[FileDocument]


class LayerList(Document):
    """The layers of a version in the order of the network. Output shapes do not include the batch axis."""

    layers: list[LayerRow]
    parameters: int
    trainable_parameters: int


class SelfTest(Document):
    """The result of a self-test. A version that does not pass is not served.

    The test predicts the golden samples, a few inputs whose outputs were recorded when the version was made.
    """

    model: str
    version: int | None
    passed: bool
    samples: int = Field(description="The number of golden samples; 0 if the files of the version cannot be read.")
    difference: float | None = Field(
        description="The largest difference from the recorded outputs of Keras; null if no output was computed."
    )
    tolerance: float
    detail: str | None = Field(description="The reason if the test did not pass.")


class VersionList(Document):
    """A page of versions. `next` is the cursor of the next page; null if no page follows."""

    versions: list[VersionSummary]
    next: str | None


class AliasTarget(BaseModel):
    """The version that the alias points to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(strict=True, ge=1)


class AliasDocument(Document):
    """An alias and the version that it points to."""

    model: str
    alias: str
    version: int


def format_model(session: Session, model: Model) -> ModelDocument:
    """Build the document of a model."""
    numbers = aliases.list_aliases(session, model.name)
    latest = versions.get_version(session, model.name, versions.LATEST)
    served = versions.get_served_version(session, model.name)
    headline = Metrics.model_validate(versions.get_metrics(session, [served])[0]).choose_headline()
    return ModelDocument(
        name=model.name,
        latest=latest.number,
        versions=versions.count_versions(session, model.name),
        aliases=numbers,
        description=model.description,
        project=model.project,
        predictions=model.predictions,
        served=served.number,
        headline=Headline(part=headline[0], name=headline[1], value=headline[2]) if headline is not None else None,
        created_at=model.created_at,
    )


def format_version(version: Version, numbers: dict[str, int], manifest: dict[str, Any]) -> dict[str, object]:
    """Return the fields of the document of a version. `numbers` are those of the aliases of its model."""
    return {
        **manifest,
        "model": version.model,
        "version": version.number,
        "aliases": [alias for alias, number in numbers.items() if number == version.number],
        "created_at": version.created_at,
    }
