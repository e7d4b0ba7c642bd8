"""From bytes to the network's input. The same functions train and serve; a version carries its contract as data."""

import io
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from shared.datasets.info import DatasetFacts
from shared.datasets.row_files import MappedRows
from shared.errors import Fault, ImageTooLarge, InvalidImage, InvalidRequest
from shared.preprocessing.handwriting import is_dark_on_light, laid_out
from shared.preprocessing.image_header import ImageHeader, read_quickly
from shared.spec.training import Color, Fit, Interpolation, Invert, Preprocessing, Scale

Pixels = NDArray[np.uint8]
Values = TypeVar("Values")  # a NumPy array or a TensorFlow tensor

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
}
DEFAULT_SIZE = (32, 32)
GRAY_CHANNELS = 1
GRAY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})
"""As Pillow names them."""
WHITE = 255
_INTERPOLATIONS = {
    Interpolation.NEAREST: cv2.INTER_NEAREST,
    Interpolation.LINEAR: cv2.INTER_LINEAR,
    Interpolation.CUBIC: cv2.INTER_CUBIC,
    Interpolation.AREA: cv2.INTER_AREA,
    Interpolation.LANCZOS: cv2.INTER_LANCZOS4,
}

GROUND_ROWS = 500
NEARLY_ALL = 0.95
LEAST_PIXELS = 200_000
"""Of a JPEG, below which decoding it smaller saves too little to be worth any difference."""
SIDES_LEFT = 3
# These flags are the bits for the size alone: those named after colours ask for BGR.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# Our own limit is checked before anything is decoded; Pillow's would only add a warning.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_bytes: int
    max_pixels: int


class Normalisation(BaseModel):
    """(value - offset) / divisor, one of each for the last axis or one for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: tuple[float, ...] = (0.0,)
    divisor: tuple[float, ...] = (1.0,)

    def apply(self, values: Values) -> Values:
        """float32 (n, …) → float32 (n, …)."""
        offset, divisor = self._arrays
        return (values - offset) / divisor  # type: ignore[operator, no-any-return]

    def apply_to_pixels(self, pixels: Pixels) -> NDArray[np.float32]:
        """The same of whole numbers, in one step where nothing is subtracted."""
        offset, divisor = self._arrays
        values = pixels if self.offset == (0.0,) else np.subtract(pixels, offset, dtype=np.float32)
        return np.divide(values, divisor, dtype=np.float32)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.asarray(self.offset, np.float32), np.asarray(self.divisor, np.float32)


class Decoding(StrEnum):
    """`reduced`: a JPEG is decoded at a half, a quarter or an eighth of its size, where enough is left of it."""

    WHOLE = "whole"
    REDUCED = "reduced"


class Ground(StrEnum):
    """What is around the ink of a drawing."""

    DARK = "dark"
    LIGHT = "light"


class ImageContract(BaseModel):
    """`background` has one level for each channel; `ground` is what nearly all training images had, of grays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["images"] = "images"
    decoding: Decoding = Decoding.WHOLE  # as in the versions of old, which do not say
    size: tuple[int, int]
    color: Color
    interpolation: Interpolation
    fit: Fit
    background: tuple[int, ...]
    invert: Invert
    scale: Scale
    normalisation: Normalisation
    ground: Ground | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels)"""
        return (*self.size, _channels(self.color))

    def leaves_alone(self, shape: tuple[int, ...]) -> bool:
        """Whether `prepare` changes nothing about images of this shape."""
        return shape == self.input_shape and self.invert is Invert.NEVER and self.fit is not Fit.MNIST


class NumbersContract(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["numbers"] = "numbers"
    shape: tuple[int, ...]
    scale: Scale
    normalisation: Normalisation

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape


Contract = Annotated[ImageContract | NumbersContract, Field(discriminator="kind")]


def contract_of(preprocessing: Preprocessing, facts: DatasetFacts) -> ImageContract | NumbersContract:
    """What the spec leaves open follows from the data. Raises InvalidRequest for keys that do not fit them."""
    if facts.images:
        return _image_contract(preprocessing, facts)
    for key in sorted(preprocessing.model_fields_set - {"scale"}):
        if getattr(preprocessing, key) is not None:
            raise _invalid(key, "This is for images, and the data set holds rows of numbers: leave it out.")
    scale = preprocessing.scale or Scale.NONE
    if scale not in (Scale.NONE, Scale.STANDARDIZE):
        raise _invalid("scale", f"`{scale}` is for images: rows of numbers take `none` or `standardize`.")
    return NumbersContract(shape=facts.shape, scale=scale, normalisation=Normalisation())


def standardized(
    contract: ImageContract | NumbersContract, x: NDArray[Any] | MappedRows
) -> ImageContract | NumbersContract:
    """With mean and deviation of the prepared training part where the contract asks for them: by channel or column."""
    if contract.scale is not Scale.STANDARDIZE:
        return contract
    mean, deviation = _statistics_of_file(x) if isinstance(x, MappedRows) else _statistics(x)
    divisor = np.where(deviation > 0, deviation, 1)  # a column that never changes carries nothing: leave it at 0
    normalisation = Normalisation(offset=tuple(mean), divisor=tuple(divisor))
    return contract.model_copy(update={"normalisation": normalisation})


def with_ground(
    contract: ImageContract | NumbersContract, x: NDArray[Any] | MappedRows
) -> ImageContract | NumbersContract:
    """With what the prepared training part shows around its ink, where that is nearly always the same."""
    if not isinstance(contract, ImageContract) or contract.color is not Color.GRAYSCALE:
        return contract
    some = x.read(np.arange(min(GROUND_ROWS, len(x)))) if isinstance(x, MappedRows) else x[:GROUND_ROWS]
    light = np.mean([is_dark_on_light(image) for image in some])
    ground = Ground.LIGHT if light >= NEARLY_ALL else Ground.DARK if light <= 1 - NEARLY_ALL else None
    return contract.model_copy(update={"ground": ground})


def _statistics(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axes = tuple(range(x.ndim - 1))
    return x.mean(axis=axes, dtype=np.float64), x.std(axis=axes, dtype=np.float64)


def _statistics_of_file(x: MappedRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.preprocessing import StandardScaler  # the API standardises nothing anew

    scaler = StandardScaler()
    for chunk in x.chunks():
        scaler.partial_fit(chunk.reshape(-1, chunk.shape[-1]).astype(np.float64))
    return scaler.mean_, np.sqrt(scaler.var_)


def decode(data: bytes, limits: ImageLimits, contract: ImageContract | None = None) -> Pixels:
    """An encoded image as (height, width, 3) RGB, upright, its transparent pixels over the contract's background.

    Whole, and over black, without a contract. Raises InvalidImage for bytes that are no whole image, ImageTooLarge for
    one over the limits.
    """
    return decode_known(data, read_header(data, limits), contract)


def decode_known(data: bytes, header: ImageHeader, contract: ImageContract | None = None) -> Pixels:
    """The same, of bytes whose header was looked at. Raises InvalidImage."""
    reduced = _REDUCED[reduction_of(header, contract)]
    flags = cv2.IMREAD_UNCHANGED if header.transparent else cv2.IMREAD_COLOR_RGB | reduced
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InvalidImage(f"a {header.format} image that cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(f"a {header.format} image that is damaged or cut off")
    if header.transparent:
        background = contract.background if contract is not None else (0,)
        return _over_background(image, background, premultiplied=header.format == "TIFF")
    return image.astype(np.uint8, copy=False)


def reduction_of(header: ImageHeader, contract: ImageContract | None) -> int:
    """1, 2, 4 or 8: by as much is a JPEG decoded smaller, so that three times the wanted side is left at the least."""
    if contract is None or contract.decoding is Decoding.WHOLE or header.format != "JPEG":
        return 1
    if header.width * header.height < LEAST_PIXELS:
        return 1
    enough = SIDES_LEFT * max(contract.size)
    return next((factor for factor in (8, 4, 2) if min(header.width, header.height) >= factor * enough), 1)


def read_header(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Decodes nothing, so that a decompression bomb is refused unopened."""
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"an image of {len(data):,} bytes, where {limits.max_bytes:,} are the limit")
    if not data:
        raise InvalidImage("empty: there are no bytes to decode")
    header = read_quickly(data) or _read_by_pillow(data)
    if header.width * header.height > limits.max_pixels:
        raise ImageTooLarge(
            f"an image of {header.width:,} × {header.height:,} pixels, where {limits.max_pixels:,} in all are the limit"
        )
    return header


def _read_by_pillow(data: bytes) -> ImageHeader:
    try:
        with Image.open(io.BytesIO(data), formats=list(MEDIA_TYPES)) as image:
            width, height = image.size
            return ImageHeader(str(image.format), image.has_transparency_data, image.mode in GRAY_MODES, width, height)
    except (OSError, SyntaxError, ValueError, OverflowError, TypeError, KeyError, IndexError, struct.error) as error:
        raise InvalidImage(f"not an image that can be read; {', '.join(MEDIA_TYPES)} are") from error


def prepare(image: Pixels, contract: ImageContract) -> Pixels:
    """(height, width, 1 or 3) of any size → (*contract.size, channels): colour, inversion, size."""
    image = _colored(image, contract.color)
    return _fitted(WHITE - image if is_inverted(image, contract) else image, contract)


def is_inverted(image: Pixels, contract: ImageContract) -> bool:
    """Whether `prepare` makes dark of light in this image, of any size and colour."""
    if contract.invert is Invert.AUTO:
        return is_dark_on_light(image)
    return contract.invert is Invert.ALWAYS


def prepare_all(images: Pixels, contract: ImageContract) -> Pixels:
    """(n, height, width, 1 or 3) → (n, *contract.size, channels); the array itself where there is nothing to do."""
    if contract.leaves_alone(images.shape[1:]):
        return images
    prepared = np.empty((len(images), *contract.input_shape), np.uint8)
    for index, image in enumerate(images):
        prepared[index] = prepare(image, contract)
    return prepared


def _image_contract(preprocessing: Preprocessing, facts: DatasetFacts) -> ImageContract:
    size = preprocessing.size or DEFAULT_SIZE
    color = preprocessing.color or (Color.GRAYSCALE if facts.shape[-1] == GRAY_CHANNELS else Color.RGB)
    background = preprocessing.background if preprocessing.background is not None else 0
    if isinstance(background, tuple) and color is Color.GRAYSCALE:
        raise _invalid("background", "The images are grayscale: give one level from 0 to 255.")
    if preprocessing.size == "data" and 0 in facts.shape[:2]:
        raise _invalid("size", "The images have sizes of their own: give [height, width].")
    if preprocessing.fit is Fit.MNIST and color is not Color.GRAYSCALE:
        raise _invalid("fit", "`mnist` lays out handwriting in shades of gray: say `color: grayscale`.")
    scale = preprocessing.scale or Scale.UNIT
    offset, divisor = {Scale.UNIT: (0.0, 255.0), Scale.SIGNED: (127.5, 127.5)}.get(scale, (0.0, 1.0))
    fit = preprocessing.fit or Fit.STRETCH
    return ImageContract(
        decoding=Decoding.WHOLE if fit is Fit.MNIST else Decoding.REDUCED,  # thin strokes need all their pixels
        size=facts.shape[:2] if size == "data" else size,
        color=color,
        interpolation=preprocessing.interpolation or Interpolation.AREA,
        fit=fit,
        background=background if isinstance(background, tuple) else (background,) * _channels(color),
        invert=preprocessing.invert or Invert.NEVER,
        scale=scale,
        normalisation=Normalisation(offset=(offset,), divisor=(divisor,)),
    )


def _invalid(key: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The preprocessing does not fit the data.", (Fault(f"#/preprocessing/{key}", detail),))


def _channels(color: Color) -> int:
    return GRAY_CHANNELS if color is Color.GRAYSCALE else 3


def _over_background(image: NDArray[Any], background: tuple[int, ...], *, premultiplied: bool) -> Pixels:
    """BGRA → RGB. OpenCV hands out the colours of a TIFF multiplied by their alpha already."""
    if image.ndim == 2:  # noqa: PLR2004 - a gray level declared transparent, which OpenCV does not look at
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
    levels = image.astype(np.float32) * (WHITE / np.iinfo(image.dtype).max)
    color, alpha = levels[..., 2::-1], levels[..., 3:] / WHITE
    behind = np.asarray(background, np.float32) * (1 - alpha)
    return np.round((color if premultiplied else color * alpha) + behind).clip(0, WHITE).astype(np.uint8)


def _colored(image: Pixels, color: Color) -> Pixels:
    is_gray = image.shape[-1] == GRAY_CHANNELS
    if is_gray == (color is Color.GRAYSCALE):
        return image
    if is_gray:
        return np.repeat(image, 3, axis=-1)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., np.newaxis].astype(np.uint8, copy=False)


def _fitted(image: Pixels, contract: ImageContract) -> Pixels:
    if contract.fit is Fit.MNIST:
        return laid_out(image, contract.size, _INTERPOLATIONS[contract.interpolation])
    if image.shape[:2] == contract.size:
        return image
    if contract.fit is Fit.STRETCH:
        return _resized(image, contract.size, contract.interpolation)
    height, width = contract.size
    ratios = height / image.shape[0], width / image.shape[1]
    if contract.fit is Fit.CROP:
        kept = [
            min(side, round(wanted / max(ratios))) for side, wanted in zip(image.shape, contract.size, strict=False)
        ]
        return _resized(_centre(image, max(1, kept[0]), max(1, kept[1])), contract.size, contract.interpolation)
    inner = max(1, round(image.shape[0] * min(ratios))), max(1, round(image.shape[1] * min(ratios)))
    canvas = np.full(contract.input_shape, contract.background, np.uint8)
    _centre(canvas, *inner)[...] = _resized(image, inner, contract.interpolation)
    return canvas


def _centre(image: Pixels, height: int, width: int) -> Pixels:
    """A view of the middle."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _resized(image: Pixels, size: tuple[int, int], interpolation: Interpolation) -> Pixels:
    height, width = size
    resized = cv2.resize(image, (width, height), interpolation=_INTERPOLATIONS[interpolation])
    return resized.reshape(height, width, image.shape[-1]).astype(np.uint8, copy=False)  # OpenCV drops a lone channel
