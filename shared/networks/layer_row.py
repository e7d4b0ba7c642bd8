"""Define a row of the layer table."""

from pydantic import BaseModel, ConfigDict


class LayerRow(BaseModel):
    """One line of the layer table; the shape is without the batch."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int
