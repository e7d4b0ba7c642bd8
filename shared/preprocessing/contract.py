"""Define the preprocessing contract: how an image, a row of numbers or a text becomes the network's input.

Training and serving use the same functions. A version stores its contract as data in its manifest.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.datasets.cells import WITH_THOUSANDS, DecimalMark, NumberFormat
from shared.datasets.encodings import ColumnEncoding
from shared.datasets.info import DatasetInfo
from shared.datasets.row_files import MappedRows
from shared.errors import Fault, InvalidRequest
from shared.preprocessing.handwriting import is_dark_on_light
from shared.preprocessing.normalisation import Normalisation
from shared.preprocessing.pixels import GRAY_CHANNELS
from shared.preprocessing.text import TextContract, build_text_contract
from shared.spec.preprocessing import Color, Fit, Interpolation, Invert, Preprocessing, Scale
from shared.spec.text import TextPreprocessing

DEFAULT_SIZE = (32, 32)

POLARITY_SAMPLE_ROWS = 500
MIN_POLARITY_SHARE = 0.95
LEVELS = 256
COUNTED_IMAGES = 64
"""Images whose levels are counted at once."""


class Decoding(StrEnum):
    """The size at which a JPEG is decoded: `whole`, or `reduced` to 1/2, 1/4 or 1/8 if enough pixels remain."""

    WHOLE = "whole"
    REDUCED = "reduced"


class Polarity(StrEnum):
    """The background of an image: darker or lighter than its strokes."""

    DARK = "dark"
    LIGHT = "light"


class ImageContract(BaseModel):
    """The preprocessing of images.

    `size` is (height, width). `background` is one level from 0 to 255 for each channel. `ground` is the background of
    nearly all training images, None if it varies or the images have colour. With `mirror`, the answer is the mean of
    the outputs for the image and for its mirror image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["images"] = "images"
    decoding: Decoding = Decoding.WHOLE  # older versions lack this key and were decoded whole
    size: tuple[int, int]
    color: Color
    interpolation: Interpolation
    fit: Fit
    background: tuple[int, ...]
    invert: Invert
    scale: Scale
    normalisation: Normalisation
    ground: Polarity | None = None
    mirror: Annotated[bool, Field(exclude_if=lambda mirror: not mirror)] = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return (height, width, channels)."""
        return (*self.size, _count_channels(self.color))

    def is_identity_for(self, shape: tuple[int, ...]) -> bool:
        """Return whether `transform_images` leaves images of this shape, (height, width, channels), unchanged."""
        return shape == self.input_shape and self.invert is Invert.NEVER and self.fit is not Fit.MNIST


class NumbersContract(BaseModel):
    """The preprocessing of rows of numbers.

    Attributes:
        shape: the shape of the network's input for one row.
        columns: how the cells of a row become numbers; empty if all are plain numbers.
        decimal: the decimal mark of the training table. Cells of text that can be read in two ways, such as `1,234`,
            are read with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["numbers"] = "numbers"
    shape: tuple[int, ...]
    columns: tuple[ColumnEncoding, ...] = ()
    decimal: DecimalMark = "."
    scale: Scale
    normalisation: Normalisation

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def number_format(self) -> NumberFormat:
        """Return how numbers are read that can be read in two ways."""
        return WITH_THOUSANDS[self.decimal]


Contract = Annotated[ImageContract | NumbersContract | TextContract, Field(discriminator="kind")]


def answers_with_mirror_images(contract: Contract) -> bool:
    """Return whether the network is run on each input and on its mirror image."""
    return isinstance(contract, ImageContract) and contract.mirror


KEYS_BY_KIND = {"numbers": frozenset({"scale"}), "texts": frozenset({"text"})}
KIND_NAMES = {"images": "images", "numbers": "rows of numbers", "texts": "texts"}


def build_contract(preprocessing: Preprocessing, info: DatasetInfo) -> Contract:
    """Build the contract from the spec. Keys that the spec leaves out are chosen by the data set.

    That of texts has no vocabulary yet. Raises InvalidRequest for a key that does not fit the data set.
    """
    _check_keys(preprocessing, info)
    if info.images:
        return _build_image_contract(preprocessing, info)
    if info.texts:
        return build_text_contract(preprocessing.text or TextPreprocessing())
    scale = preprocessing.scale or Scale.NONE
    if scale not in (Scale.NONE, Scale.STANDARDIZE):
        raise _build_error("scale", f"`{scale}` is for images. Use `none` or `standardize` for rows of numbers.")
    return NumbersContract(
        shape=info.shape, columns=info.encodings, decimal=info.decimal, scale=scale, normalisation=Normalisation()
    )


def _check_keys(preprocessing: Preprocessing, info: DatasetInfo) -> None:
    """Check that each key of the spec is for data of this kind. Raises InvalidRequest."""
    allowed = KEYS_BY_KIND.get(info.kind, Preprocessing.model_fields.keys() - {"text"})
    for key in sorted(preprocessing.model_fields_set - allowed):
        if getattr(preprocessing, key) is not None:
            kinds = "texts" if key == "text" else "images and rows of numbers" if key == "scale" else "images"
            detail = f"This key is for {kinds}, and the data set contains {KIND_NAMES[info.kind]}. Remove it."
            raise _build_error(key, detail)


def fit_statistics(contract: Contract, x: NDArray[Any] | MappedRows) -> Contract:
    """Return the contract with mean and standard deviation of `x` if its scale is `standardize`, else unchanged.

    `x` is the preprocessed training part. The statistics are those of each channel or column (the last axis).
    """
    if isinstance(contract, TextContract) or contract.scale is not Scale.STANDARDIZE:
        return contract
    mean, deviation = _compute_statistics(x)
    divisor = np.where(deviation > 0, deviation, 1)  # a constant column has deviation 0: dividing by 1 keeps it at 0
    normalisation = Normalisation(offset=tuple(mean), divisor=tuple(divisor))
    return contract.model_copy(update={"normalisation": normalisation})


def fit_polarity(contract: Contract, x: NDArray[Any] | MappedRows) -> Contract:
    """Return the contract with the background polarity of the training images.

    `x` is the preprocessed training part, of which the first POLARITY_SAMPLE_ROWS images are examined. The polarity is
    None if fewer than MIN_POLARITY_SHARE of them agree. A contract without grayscale images is returned unchanged.
    """
    if not isinstance(contract, ImageContract) or contract.color is not Color.GRAYSCALE:
        return contract
    sample = (
        x.read(np.arange(min(POLARITY_SAMPLE_ROWS, len(x)))) if isinstance(x, MappedRows) else x[:POLARITY_SAMPLE_ROWS]
    )
    light = np.mean([is_dark_on_light(image) for image in sample])
    ground = (
        Polarity.LIGHT if light >= MIN_POLARITY_SHARE else Polarity.DARK if light <= 1 - MIN_POLARITY_SHARE else None
    )
    return contract.model_copy(update={"ground": ground})


def _compute_statistics(x: NDArray[Any] | MappedRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel or column, each (channels,)."""
    if x.dtype == np.uint8:
        return _compute_level_statistics(x)
    if isinstance(x, MappedRows):
        return _compute_file_statistics(x)
    axes = tuple(range(x.ndim - 1))
    return x.mean(axis=axes, dtype=np.float64), x.std(axis=axes, dtype=np.float64)


def _compute_level_statistics(x: NDArray[Any] | MappedRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the pixels of each level: NumPy's own `std` makes arrays of float64, eight times as large as the images."""
    counts = np.zeros((x.shape[-1], LEVELS), np.int64)
    for start in range(0, len(x), COUNTED_IMAGES):
        rows = np.arange(start, min(start + COUNTED_IMAGES, len(x)))
        images = x.read(rows) if isinstance(x, MappedRows) else x[rows]
        for channel in range(len(counts)):
            counts[channel] += np.bincount(images[..., channel].ravel(), minlength=LEVELS)
    levels = np.arange(LEVELS, dtype=np.float64)
    pixels = counts.sum(axis=1)
    mean = counts @ levels / pixels
    variance = (counts * (levels - mean[:, np.newaxis]) ** 2).sum(axis=1) / pixels
    return mean, np.sqrt(variance)


def _compute_file_statistics(x: MappedRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.preprocessing import StandardScaler  # imported here: the API never fits statistics

    scaler = StandardScaler()
    for chunk in x.iterate_chunks():
        scaler.partial_fit(chunk.reshape(-1, chunk.shape[-1]).astype(np.float64))
    return scaler.mean_, np.sqrt(scaler.var_)


def _build_image_contract(preprocessing: Preprocessing, info: DatasetInfo) -> ImageContract:
    size = preprocessing.size or DEFAULT_SIZE
    color = preprocessing.color or (Color.GRAYSCALE if info.shape[-1] == GRAY_CHANNELS else Color.RGB)
    background = preprocessing.background if preprocessing.background is not None else 0
    if isinstance(background, tuple) and color is Color.GRAYSCALE:
        raise _build_error(
            "background", "The images are grayscale, and `background` has three levels. Give one level from 0 to 255."
        )
    if preprocessing.size == "data" and 0 in info.shape[:2]:
        raise _build_error("size", "`data` needs images of one size, and these differ in size. Give [height, width].")
    if preprocessing.fit is Fit.MNIST and color is not Color.GRAYSCALE:
        raise _build_error("fit", "`mnist` needs grayscale images, and `color` is `rgb`. Set `color: grayscale`.")
    scale = preprocessing.scale or Scale.UNIT
    offset, divisor = {Scale.UNIT: (0.0, 255.0), Scale.SIGNED: (127.5, 127.5)}.get(scale, (0.0, 1.0))
    fit = preprocessing.fit or Fit.STRETCH
    return ImageContract(
        decoding=Decoding.WHOLE if fit is Fit.MNIST else Decoding.REDUCED,  # a reduced JPEG loses thin strokes
        size=info.shape[:2] if size == "data" else size,
        color=color,
        interpolation=preprocessing.interpolation or Interpolation.AREA,
        fit=fit,
        background=background if isinstance(background, tuple) else (background,) * _count_channels(color),
        invert=preprocessing.invert or Invert.NEVER,
        scale=scale,
        normalisation=Normalisation(offset=(offset,), divisor=(divisor,)),
        mirror=bool(preprocessing.mirror),
    )


def _build_error(key: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The preprocessing does not fit the data.", (Fault(f"#/preprocessing/{key}", detail),))


def _count_channels(color: Color) -> int:
    return GRAY_CHANNELS if color is Color.GRAYSCALE else 3
