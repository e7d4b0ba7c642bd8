"""Define the messages between the API and the planner process."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.datasets.info import DatasetInfo
from shared.datasets.splits import PartSizes
from shared.errors import Fault
from shared.networks.layer_row import LayerRow
from shared.registry.pretrained import PretrainedVersion
from shared.spec.training import TrainingSpec


class Plan(BaseModel):
    """Shapes are without the batch; `classes` is empty where the network answers numbers."""

    model_config = ConfigDict(frozen=True)

    model: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: list[LayerRow]
    parameters: int
    trainable_parameters: int
    classes: tuple[str, ...]
    loss: str
    metrics: list[str]
    optimizer: str
    rows: PartSizes
    steps_per_epoch: int


CATALOG = "catalog"


class PlanRequest(BaseModel):
    """A spec, what the data set holds that it names, where users brought it, and the version it starts from."""

    spec: TrainingSpec
    uploaded: DatasetInfo | None = None
    base: PretrainedVersion | None = None


class LayerOutputRequest(BaseModel):
    """Into a layer of a network whose architecture.json and model.weights.h5 lie in the folder.

    Its kernel, or, where the folder has an input.npy, (n, *input_shape) float32, what it makes of that; written to
    output.npy.
    """

    folder: Path
    input_shape: tuple[int, ...]
    layer: str


class PlannerMessage(BaseModel):
    """What is asked: one of the two."""

    question: PlanRequest | None = None
    look: LayerOutputRequest | None = None


class Refusal(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    detail: str
    faults: tuple[Fault, ...]


class PlanResponse(BaseModel):
    """A plan, a refusal, or neither to a look that was taken."""

    plan: Plan | None = None
    refusal: Refusal | None = None
