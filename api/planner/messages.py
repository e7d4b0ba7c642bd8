"""What a spec would do, as the dry run answers it."""

from pydantic import BaseModel, ConfigDict

from shared.datasets.splits import PartSizes


class LayerRow(BaseModel):
    """One line of the layer table; the shape is without the batch."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int


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
