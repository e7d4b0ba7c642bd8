"""Define the `preprocessing` part of a training spec."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from shared.spec.fields import Pixel, Side, SpecPart
from shared.spec.text import TextPreprocessing


class Interpolation(StrEnum):
    """Interpolation method for resizing. Default: `area`."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"
    AREA = "area"
    LANCZOS = "lanczos"


class Fit(StrEnum):
    """Method for fitting an image to `size`. Default: `stretch`.

    `stretch` ignores the aspect ratio. `pad` keeps it and adds a border. `crop` keeps it and cuts off the edges.
    `mnist` is for light handwriting on a dark background: it resizes the strokes and centres them by
    their centre of mass.
    """

    STRETCH = "stretch"
    PAD = "pad"
    CROP = "crop"
    MNIST = "mnist"


class Scale(StrEnum):
    """Range of the input values.

    `none` keeps the values. `unit` scales them to the range from 0 to 1, `signed` from -1 to 1. `standardize` subtracts
    the mean of the training rows and divides by their standard deviation, per channel or column.
    """

    NONE = "none"
    UNIT = "unit"
    SIGNED = "signed"
    STANDARDIZE = "standardize"


class Color(StrEnum):
    GRAYSCALE = "grayscale"
    RGB = "rgb"


class Invert(StrEnum):
    """How to invert pixel values, from light to dark and from dark to light. Default: `never`.

    `auto` inverts only images with a light border.
    """

    NEVER = "never"
    ALWAYS = "always"
    AUTO = "auto"


class Preprocessing(SpecPart):
    """The conversion of an image, a row of numbers or a text into the input of the network.

    Serving applies exactly the same conversion. For rows of numbers, `scale` is the only key, and for texts `text`.
    With `network.from`, the values of that version replace the defaults.
    """

    size: Annotated[
        tuple[Side, Side] | Literal["data"] | None,
        Field(description="[height, width], or `data` for the size of the images in the data set. Default: [32, 32]."),
    ] = None
    color: Annotated[
        Color | None, Field(description="Colour mode of the input. Default: the colour mode of the data set.")
    ] = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    background: Annotated[
        Pixel | tuple[Pixel, Pixel, Pixel] | None,
        Field(
            description="Colour behind transparent pixels and in the border of `pad`: one level from 0 to 255, or "
            "[red, green, blue]. Default: 0."
        ),
    ] = None
    scale: Annotated[
        Scale | None, Field(description="Range of the input values. Default: `unit` for images, `none` for numbers.")
    ] = None
    invert: Invert | None = None
    mirror: Annotated[
        bool | None,
        Field(
            description="Answer with the mean of the outputs for an image and for its mirror image. Each prediction "
            "takes twice the time. Default: false.",
            exclude_if=lambda mirror: mirror is None,
        ),
    ] = None
    text: Annotated[
        TextPreprocessing | None,
        Field(
            description="How texts become sequences of word indices. Default: 10,000 words, 100 in a sequence.",
            exclude_if=lambda text: text is None,
        ),
    ] = None
