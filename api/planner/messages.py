"""Define the messages between the API and the planner process."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.datasets.info import DatasetInfo
from shared.datasets.splits import PartSizes
from shared.errors import Fault
from shared.networks.layer_row import LayerRow
from shared.registry.pretrained import PretrainedVersion
from shared.spec.training import TrainingSpec


class Plan(BaseModel):
    """The plan of a training, which a dry run computes.

    Shapes do not include the batch axis. `classes` are the class labels in the order of the outputs, empty for a
    regression; with `labels`, a row can have several of them. `rows` are the numbers of rows in each part of the data.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: list[LayerRow]
    parameters: int
    trainable_parameters: int
    classes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    loss: str
    metrics: list[str]
    optimizer: str
    rows: PartSizes
    steps_per_epoch: int


CATALOG = b"catalog"
"""The message that requests the catalog."""


class PlanRequest(BaseModel):
    """A request to plan a spec.

    Attributes:
        uploaded: description of the data set, if the spec names an uploaded one.
        validation: description of the data set that `validation` names, if it names one.
        base: the version whose network and weights the training starts from, if the spec names one.
        weights: the shapes of the uploaded arrays, if `network.weights` names some.
    """

    spec: TrainingSpec
    uploaded: DatasetInfo | None = None
    validation: DatasetInfo | None = None
    base: PretrainedVersion | None = None
    weights: list[tuple[int, ...]] | None = None


class LayerOutputRequest(BaseModel):
    """A request to write the output of a layer to output.npy, or its weights to weights.npz.

    Attributes:
        folder: contains the network as architecture.json and model.weights.h5. If it also contains input.npy,
            (n, *input_shape) float32, the output of the layer for these inputs is written, otherwise its weights.
        input_shape: shape without the batch axis.
        layer: name of the layer.
    """

    folder: Path
    input_shape: tuple[int, ...]
    layer: str


class LossRequest(BaseModel):
    """A request to compute a loss.

    Attributes:
        name: a key of LOSSES.
        y_true: the labels: a number for each row, or a list of them.
        y_pred: the outputs, in the same form.
        arguments: those of the loss.
        log_base: base of its logarithms; None for the natural logarithm.
    """

    name: str
    y_true: list[list[float]] | list[float]
    y_pred: list[list[float]] | list[float]
    arguments: dict[str, Any] = {}
    log_base: float | None = None


class LossValue(BaseModel):
    """The loss: the mean, and that of each row."""

    loss: float
    rows: list[float]


class Curve(BaseModel):
    """An activation: its inputs, its values, and its slope between two neighbours; None where it jumps."""

    x: list[float]
    y: list[float]
    slopes: list[float | None]


class PlannerMessage(BaseModel):
    """A request to the planning process, sent as one line. Exactly one of the fields is set."""

    plan_request: PlanRequest | None = None
    layer_request: LayerOutputRequest | None = None
    loss_request: LossRequest | None = None
    activation: str | None = None


class Refusal(BaseModel):
    """The reason for which a request was refused: the fields of InvalidRequest."""

    model_config = ConfigDict(from_attributes=True)

    detail: str
    faults: tuple[Fault, ...]


class PlanResponse(BaseModel):
    """The answer to a PlannerMessage, or a refusal. All are None if the output of a layer was written."""

    plan: Plan | None = None
    loss: LossValue | None = None
    curve: Curve | None = None
    refusal: Refusal | None = None
