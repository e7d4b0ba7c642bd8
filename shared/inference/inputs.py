"""Inputs as they came, and each as a row of the network's input."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import pybase64
from numpy.typing import DTypeLike, NDArray

from shared.errors import ImageTooLarge, InvalidImage, InvalidRequest, ServiceError, UnsupportedContent
from shared.preprocessing.contract import Ground, ImageContract, NumbersContract
from shared.preprocessing.decoding import MEDIA_TYPES, ImageLimits, decode_known, read_header
from shared.preprocessing.handwriting import is_dark_on_light
from shared.preprocessing.pixels import Pixels
from shared.preprocessing.transforms import is_inverted, prepare
from shared.spec.preprocessing import Fit, Invert

ANY_BYTES = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""Said of bytes by clients that do not look at them; the last is what curl says of everything."""
SAME_TYPE = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
}
INVERTED = "The image is dark on light, and was inverted."
UNUSUAL_GROUND = {
    Ground.DARK: "The image is dark on light, and the version was trained on light on dark: send it inverted, "
    "or train with `invert: auto`.",
    Ground.LIGHT: "The image is light on dark, and the version was trained on dark on light: send it inverted.",
}
LEAST_CONTRAST = 6
MOST_ELONGATED = 4
SMALL = 2
"""Both sides a half of what the network takes, or less."""
LARGEST = float(np.finfo(np.float32).max)
REAL = frozenset({int, float})
NAMES = {bool: "a truth value", dict: "an object", float: "a fraction", str: "a text", type(None): "null"}


@dataclass(frozen=True)
class ImageInput:
    """`name` is how its sender will know it again; `media_type` what the sender said it is."""

    name: str
    data: bytes
    media_type: str = ""


@dataclass(frozen=True)
class NumbersInput:
    """Numbers in nested lists, as JSON gave them, or an array."""

    name: str
    values: Any


Input = ImageInput | NumbersInput
Sides = tuple[int, int]
"""Height and width, as they came."""


def input_of(instance: Any, name: str) -> Input:  # noqa: ANN401 - JSON
    """An instance of a JSON body: `{"b64": …}` for an image, numbers otherwise. Raises InvalidRequest."""
    if not isinstance(instance, dict):
        return NumbersInput(name, instance)
    if instance.keys() != {"b64"}:
        raise InvalidRequest(f'{name}: an image is {{"b64": "…"}}, and nothing else beside it.')
    return ImageInput(name, from_base64(instance["b64"], name))


def from_base64(text: object, name: str) -> bytes:
    """Raises InvalidImage."""
    if not isinstance(text, str):
        raise InvalidImage(f"{name}: the base64 of an image is a text.")
    try:
        return pybase64.b64decode(text, validate=True)  # some forty times as fast as Python's
    except ValueError as error:
        raise InvalidImage(f"{name}: not base64: {error}.") from None


class Row(NamedTuple):
    """`values` are float32, of the contract's input shape; `warnings` what a sender may not have expected."""

    values: NDArray[np.float32]
    warnings: list[str]


def row_of(given: Input, contract: ImageContract | NumbersContract, limits: ImageLimits) -> Row:
    """As the network takes it.

    Raises InvalidImage, ImageTooLarge, UnsupportedContent or InvalidRequest, with the input's name.
    """
    if isinstance(contract, ImageContract):
        pixels, sides = _decoded(given, contract, limits) if isinstance(given, ImageInput) else _pixels(given, limits)
        prepared = prepare(pixels, contract)
        warnings = _warnings(prepared, sides, contract)
        if contract.invert is Invert.AUTO and is_inverted(pixels, contract):
            warnings.append(INVERTED)
        elif (
            contract.ground is not None
            and not warnings
            and is_dark_on_light(prepared) != (contract.ground is Ground.LIGHT)
        ):
            warnings.append(UNUSUAL_GROUND[contract.ground])
        return Row(contract.normalisation.apply_to_pixels(prepared), warnings)
    if isinstance(given, ImageInput):
        raise InvalidRequest(f"{given.name}: this version takes {list(contract.shape)} numbers, not an image.")
    return Row(contract.normalisation.apply(_numbers(given, contract.shape)), [])


def rows_of(
    inputs: Iterable[Input | ServiceError], contract: ImageContract | NumbersContract, limits: ImageLimits
) -> tuple[list[NDArray[np.float32]], list[list[str] | ServiceError]]:
    """Of those that can be read, each as the network takes it; and for every one its warnings, or why it cannot."""
    rows: list[NDArray[np.float32]] = []
    read: list[list[str] | ServiceError] = []
    for given in inputs:
        try:
            if isinstance(given, ServiceError):
                raise given
            row = row_of(given, contract, limits)
        except ServiceError as found:
            read.append(found)
        else:
            rows.append(row.values)
            read.append(row.warnings)
    return rows, read


def _warnings(prepared: Pixels, sides: Sides, contract: ImageContract) -> list[str]:
    """Of images that people did not mean to send, or that a network of this size sees little of."""
    height, width = sides
    warnings = []
    darkest, lightest, _, _ = cv2.minMaxLoc(prepared.reshape(1, -1))  # NumPy takes five times as long
    if lightest - darkest < LEAST_CONTRAST:
        warnings.append("The image is blank: all its pixels are about the same.")
    if (
        max(sides) > MOST_ELONGATED * min(sides)
        and contract.fit is Fit.STRETCH
        and contract.size[0] == contract.size[1]
    ):
        warnings.append(f"The image is {width} × {height} and was squeezed into a square: `fit: pad` keeps its shape.")
    if SMALL * height <= contract.size[0] and SMALL * width <= contract.size[1]:
        warnings.append(
            f"The image is only {width} × {height}, where the network takes {contract.size[1]} × {contract.size[0]}."
        )
    return warnings


def _decoded(given: ImageInput, contract: ImageContract, limits: ImageLimits) -> tuple[Pixels, Sides]:
    try:
        said = SAME_TYPE.get(given.media_type, given.media_type)
        header = read_header(given.data, limits)
        found = MEDIA_TYPES[header.format]
        if said not in ANY_BYTES and said != found:
            raise UnsupportedContent(f"{given.name}: said to be {said}, and it is {found}: label it so, or not at all.")
        return decode_known(given.data, header, contract), (header.height, header.width)
    except (InvalidImage, ImageTooLarge) as error:
        raise type(error)(f"{given.name}: {error.detail}.") from error


def _pixels(given: NumbersInput, limits: ImageLimits) -> tuple[Pixels, Sides]:
    """An image that is decoded already: (height, width), or with 1 or 3 channels, whole numbers from 0 to 255."""
    known = isinstance(given.values, np.ndarray) and given.values.dtype == np.uint8
    pixels = given.values if known else _array(given, "an image is height × width pixels, or × 1 or 3 channels")
    if pixels.ndim == 2:  # noqa: PLR2004 - height and width
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:  # noqa: PLR2004 - and channels
        raise InvalidRequest(
            f"{given.name}: an image is height × width pixels, or × 1 or 3 channels, not {list(pixels.shape)}."
        )
    if pixels.shape[0] * pixels.shape[1] > limits.max_pixels:
        raise ImageTooLarge(f"{given.name}: more than {limits.max_pixels:,} pixels.")
    if not known and (pixels.min() < 0 or pixels.max() > 255 or not np.array_equal(pixels, np.round(pixels))):  # noqa: PLR2004 - a byte
        raise InvalidRequest(f"{given.name}: pixels are whole numbers from 0 to 255; the version scales them itself.")
    return pixels.astype(np.uint8, copy=False), (pixels.shape[0], pixels.shape[1])


def _numbers(given: NumbersInput, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = _array(given, f"this version takes {list(shape)} numbers")
    if values.shape != shape and (values.size, shape) != (1, (1,)):
        raise InvalidRequest(f"{given.name}: this version takes {list(shape)} numbers, not {list(values.shape)}.")
    return values.reshape(shape).astype(np.float32)


def _array(given: NumbersInput, expected: str) -> NDArray[np.float64]:
    try:
        values = array_of(given.values, REAL, np.float64)
    except ValueError as error:
        raise InvalidRequest(f"{given.name}: {error}; {expected}.") from None
    if not (np.isfinite(values).all() and np.abs(values).max(initial=0) <= LARGEST):
        raise InvalidRequest(f"{given.name}: an input holds finite 32-bit numbers alone; {expected}.")
    return values


def array_of(values: Any, types: frozenset[type], dtype: DTypeLike) -> NDArray[Any]:  # noqa: ANN401 - JSON, or an array
    """Nested lists of these types of numbers, or an array. What is too large for a float is infinite.

    NumPy alone would take null for NaN and texts for what they spell, and give each text the room of the longest.
    Raises ValueError.
    """
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype == object:
        _check_types(array, types)
    try:
        with np.errstate(over="ignore"):
            return array.astype(dtype, copy=False)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _check_types(array: NDArray[Any], types: frozenset[type]) -> None:
    found = set(map(type, array.reshape(-1)))
    if list in found:
        raise ValueError("the rows of an input must all have the same length")
    if not found <= types:
        named = sorted(NAMES.get(other, other.__name__) for other in found - types)
        raise ValueError(f"an input holds numbers, and there is {', '.join(named)}")
