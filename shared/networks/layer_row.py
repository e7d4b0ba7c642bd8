"""Define a row of the layer table."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class LayerRow(BaseModel):
    """A row of the layer table. `output_shape` does not contain the batch."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int


class WeightShape(NamedTuple):
    """A weight of a network: its name, with that of its layer, and its shape."""

    name: str
    shape: tuple[int, ...]
