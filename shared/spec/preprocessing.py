"""Define the `preprocessing` part of a training spec."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from shared.spec.fields import Pixel, Side, SpecPart


class Interpolation(StrEnum):
    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"
    AREA = "area"
    LANCZOS = "lanczos"


class Fit(StrEnum):
    STRETCH = "stretch"
    PAD = "pad"
    CROP = "crop"
    MNIST = "mnist"


class Scale(StrEnum):
    NONE = "none"
    UNIT = "unit"
    SIGNED = "signed"
    STANDARDIZE = "standardize"


class Color(StrEnum):
    GRAYSCALE = "grayscale"
    RGB = "rgb"


class Invert(StrEnum):
    NEVER = "never"
    ALWAYS = "always"
    AUTO = "auto"


class Preprocessing(SpecPart):
    """How an image, or a row of numbers, becomes the network's input; serving repeats it exactly."""

    size: Annotated[
        tuple[Side, Side] | Literal["data"] | None, Field(description="[height, width]; 32×32 if left out.")
    ] = None
    color: Annotated[Color | None, Field(description="What the data is, if left out.")] = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    background: Annotated[
        Pixel | tuple[Pixel, Pixel, Pixel] | None,
        Field(
            description="Behind transparent pixels and around padded ones: a level, or red, green, blue; 0 if left out."
        ),
    ] = None
    scale: Annotated[Scale | None, Field(description="`unit` for images, `none` for numbers, if left out.")] = None
    invert: Invert | None = None
