"""Scale the values of a network's input."""

from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shared.preprocessing.pixels import Pixels

Values = TypeVar("Values")  # a NumPy array or a TensorFlow tensor


class Normalisation(BaseModel):
    """(value - offset) / divisor. Offset and divisor have one number, or one for each index of the last axis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: tuple[float, ...] = (0.0,)
    divisor: tuple[float, ...] = (1.0,)

    def apply(self, values: Values) -> Values:
        """Normalise float32 values (n, …). Returns the same shape and dtype."""
        offset, divisor = self._arrays
        return (values - offset) / divisor  # type: ignore[operator, no-any-return]

    def apply_to_pixels(self, pixels: Pixels) -> NDArray[np.float32]:
        """Normalise uint8 pixels to float32 of the same shape. Skips the subtraction if the offset is 0."""
        offset, divisor = self._arrays
        values = pixels if self.offset == (0.0,) else np.subtract(pixels, offset, dtype=np.float32)
        return np.divide(values, divisor, dtype=np.float32)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.asarray(self.offset, np.float32), np.asarray(self.divisor, np.float32)
