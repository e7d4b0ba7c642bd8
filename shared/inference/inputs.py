"""Preprocess the inputs of a request to rows of the network's input."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
import pybase64
from numpy.typing import DTypeLike, NDArray

from shared.errors import ImageTooLarge, InvalidImage, InvalidRequest, Overloaded, ServiceError, UnsupportedContent
from shared.preprocessing.contract import ImageContract, NumbersContract, Polarity
from shared.preprocessing.decoding import MEDIA_TYPES, ImageLimits, PixelBudget, read_header
from shared.preprocessing.handwriting import is_dark_on_light
from shared.preprocessing.image_decoder import MAX_FREE_PIXELS, ImageDecoder
from shared.preprocessing.image_header import ImageHeader, parse_header
from shared.preprocessing.pixels import Pixels
from shared.preprocessing.transforms import TransformedImage, transform_image
from shared.spec.preprocessing import Fit, Invert

UNSPECIFIC_MEDIA_TYPES = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""Media types that clients send without regard to the content; curl sends the last one with `--data`."""
MEDIA_TYPE_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
}
INVERTED_WARNING = "The image is dark on light and was inverted."
POLARITY_WARNINGS = {
    Polarity.DARK: "The image is dark on light, and the version was trained on light on dark. Send it inverted, "
    "or train with `invert: auto`.",
    Polarity.LIGHT: "The image is light on dark, and the version was trained on dark on light. Send it inverted.",
}
MIN_CONTRAST = 6
"""Levels between the darkest and the lightest pixel; an image with less is blank."""
MAX_ASPECT_RATIO = 4
MIN_UPSCALING = 2
"""An image is too small if both sides, times this factor, are at most those that the network takes."""
MAX_FLOAT32 = float(np.finfo(np.float32).max)
REAL_TYPES = frozenset({int, float})
TYPE_NAMES = {
    bool: "a boolean",
    dict: "an object",
    float: "a float where integers are expected",
    str: "a string",
    type(None): "null",
}


@dataclass(frozen=True)
class ImageInput:
    """An encoded image of a request. `name` identifies it in messages; `media_type` is the declared one, or empty."""

    name: str
    data: bytes
    media_type: str = ""

    @cached_property
    def header(self) -> ImageHeader | None:
        """Return what `parse_header` returns, which takes some of the time of a small image. Raises InvalidImage."""
        return parse_header(self.data)


@dataclass(frozen=True)
class NumbersInput:
    """Numbers of a request: nested lists of JSON, or an array. `name` identifies them in messages."""

    name: str
    values: Any


Input = ImageInput | NumbersInput
Size = tuple[int, int]
"""Height and width before preprocessing."""


def parse_instance(instance: Any, name: str) -> Input:  # noqa: ANN401 - JSON
    """Parse an instance of a JSON body: `{"b64": …}` is an image, anything else that is not an object is numbers.

    Raises InvalidRequest or InvalidImage.
    """
    if not isinstance(instance, dict):
        return NumbersInput(name, instance)
    if instance.keys() != {"b64"}:
        raise InvalidRequest(f'{name}: an image must be {{"b64": "…"}} without other keys.')
    return ImageInput(name, decode_base64(instance["b64"], name))


def decode_base64(text: object, name: str) -> bytes:
    """Decode the base64 of an image. Raises InvalidImage, which names the input."""
    if not isinstance(text, str):
        raise InvalidImage(f"{name}: the base64 of an image must be a string.")
    try:
        return pybase64.b64decode(text, validate=True)  # about 40 times as fast as the standard library
    except ValueError as error:
        raise InvalidImage(f"{name}: not base64: {error}.") from None


class PreprocessedInput(NamedTuple):
    """A row of the network's input, float32 of the contract's input shape, and warnings for the sender."""

    values: NDArray[np.float32]
    warnings: list[str]


def preprocess_input(
    given: Input,
    contract: ImageContract | NumbersContract,
    decoder: ImageDecoder,
    budget: PixelBudget | None = None,
) -> PreprocessedInput:
    """Preprocess one input to a row of the network's input.

    `budget` is what the other images of the same request leave; None for no limit on them.

    Raises InvalidImage, ImageTooLarge, UnsupportedContent, InvalidRequest or Overloaded; each message but the last
    names the input.
    """
    if isinstance(contract, ImageContract):
        return _preprocess_image(given, contract, decoder, budget or PixelBudget(None, ""))
    if isinstance(given, ImageInput):
        raise InvalidRequest(
            f"{given.name}: this version takes numbers of shape {list(contract.shape)}, not an image. Send JSON, such "
            'as {"instances": […]}, with the header `Content-Type: application/json`.'
        )
    return PreprocessedInput(contract.normalisation.apply(_parse_numbers(given, contract.shape)), [])


def _preprocess_image(
    given: Input, contract: ImageContract, decoder: ImageDecoder, budget: PixelBudget
) -> PreprocessedInput:
    if isinstance(given, ImageInput):
        (pixels, inverted), size = _decode(given, contract, decoder, budget)
    else:
        image, size = _parse_pixels(given, decoder.limits)
        pixels, inverted = transform_image(image, contract)
    warnings = _find_warnings(pixels, size, contract)
    polarity = contract.ground
    if inverted and contract.invert is Invert.AUTO:
        warnings.append(INVERTED_WARNING)
    elif polarity is not None and not warnings and is_dark_on_light(pixels) != (polarity is Polarity.LIGHT):
        warnings.append(POLARITY_WARNINGS[polarity])
    return PreprocessedInput(contract.normalisation.apply_to_pixels(pixels), warnings)


def preprocess_inputs(
    inputs: Iterable[Input | ServiceError],
    contract: ImageContract | NumbersContract,
    decoder: ImageDecoder,
    budget: PixelBudget,
) -> tuple[list[NDArray[np.float32]], list[list[str] | ServiceError]]:
    """Preprocess several inputs, whose images share the budget.

    Returns:
        The rows of the inputs that can be read, in their order; and for every input its warnings, or the error.

    Raises Overloaded if an image waits too long to be decoded.
    """
    rows: list[NDArray[np.float32]] = []
    read: list[list[str] | ServiceError] = []
    for given in inputs:
        try:
            if isinstance(given, ServiceError):
                raise given
            row = preprocess_input(given, contract, decoder, budget)
        except Overloaded:  # it is no fault of this input, and the next would wait too
            raise
        except ServiceError as found:
            read.append(found)
        else:
            rows.append(row.values)
            read.append(row.warnings)
    return rows, read


def is_prepared_quickly(given: Input | ServiceError) -> bool:
    """Return whether preparing an input takes little time and no other process."""
    if not isinstance(given, ImageInput):
        return True
    try:
        header = given.header
        return header is not None and header.is_plainly_safe and header.pixels <= MAX_FREE_PIXELS
    except InvalidImage:
        return True


def _find_warnings(pixels: Pixels, size: Size, contract: ImageContract) -> list[str]:
    """Return warnings for an image that was probably sent by mistake, or that loses detail at the network's size."""
    height, width = size
    warnings = []
    darkest, lightest, _, _ = cv2.minMaxLoc(pixels.reshape(1, -1))  # NumPy is five times as slow
    if lightest - darkest < MIN_CONTRAST:
        warnings.append("The image is blank: all its pixels are about the same.")
    if (
        max(size) > MAX_ASPECT_RATIO * min(size)
        and contract.fit is Fit.STRETCH
        and contract.size[0] == contract.size[1]
    ):
        warnings.append(f"The image is {width} × {height} and was stretched to a square: `fit: pad` keeps its ratio.")
    if MIN_UPSCALING * height <= contract.size[0] and MIN_UPSCALING * width <= contract.size[1]:
        warnings.append(
            f"The image is only {width} × {height}, and the network takes {contract.size[1]} × {contract.size[0]}. "
            "Send a larger image."
        )
    return warnings


def _decode(
    given: ImageInput, contract: ImageContract, decoder: ImageDecoder, budget: PixelBudget
) -> tuple[TransformedImage, Size]:
    """Decode and transform an image. Returns the result and the size before it."""
    try:
        declared_type = MEDIA_TYPE_ALIASES.get(given.media_type, given.media_type)
        header = read_header(given.data, decoder.limits, given.header)
        found = MEDIA_TYPES[header.format]
        if declared_type not in UNSPECIFIC_MEDIA_TYPES and declared_type != found:
            raise UnsupportedContent(
                f"{given.name}: the declared media type is {declared_type}, and the image is {found}. "
                "Declare the type of the image, or none."
            )
        is_little = budget.spend(header)
        image = decoder.transform(given.data, header, contract, here=is_little)
    except (InvalidImage, ImageTooLarge) as error:
        raise type(error)(f"{given.name}: {error.detail}.") from error
    return image, (header.height, header.width)


def _parse_pixels(given: NumbersInput, limits: ImageLimits) -> tuple[Pixels, Size]:
    """Parse a decoded image, integers from 0 to 255, of shape (height, width) or (height, width, 1 or 3).

    Returns:
        The pixels (height, width, 1 or 3) and the size.
    """
    is_uint8 = isinstance(given.values, np.ndarray) and given.values.dtype == np.uint8
    pixels = (
        given.values if is_uint8 else _parse_array(given, "an image is [height, width] or [height, width, channels]")
    )
    if pixels.ndim == 2:  # noqa: PLR2004 - height and width
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:  # noqa: PLR2004 - and channels
        raise InvalidRequest(
            f"{given.name}: an image has the shape [height, width] or [height, width, 1 or 3 channels], "
            f"not {list(pixels.shape)}."
        )
    if pixels.shape[0] * pixels.shape[1] > limits.max_pixels:
        raise ImageTooLarge(
            f"{given.name}: the image exceeds the limit of {limits.max_pixels:,} pixels. Scale it down."
        )
    if not is_uint8 and (pixels.min() < 0 or pixels.max() > 255 or not np.array_equal(pixels, np.round(pixels))):  # noqa: PLR2004 - a byte
        raise InvalidRequest(f"{given.name}: pixels must be whole numbers from 0 to 255. The version scales them.")
    return pixels.astype(np.uint8, copy=False), (pixels.shape[0], pixels.shape[1])


def _parse_numbers(given: NumbersInput, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = _parse_array(given, f"this version takes numbers of shape {list(shape)}")
    if values.shape != shape and (values.size, shape) != (1, (1,)):
        raise InvalidRequest(
            f"{given.name}: this version takes numbers of shape {list(shape)}, not of shape {list(values.shape)}."
        )
    return values.reshape(shape).astype(np.float32)


def _parse_array(given: NumbersInput, expected: str) -> NDArray[np.float64]:
    try:
        values = to_array(given.values, REAL_TYPES, np.float64)
    except ValueError as error:
        raise InvalidRequest(f"{given.name}: {error}; {expected}.") from None
    if not (np.isfinite(values).all() and np.abs(values).max(initial=0) <= MAX_FLOAT32):
        raise InvalidRequest(f"{given.name}: an input must contain only finite 32-bit numbers; {expected}.")
    return values


def to_array(values: Any, types: frozenset[type], dtype: DTypeLike) -> NDArray[Any]:  # noqa: ANN401 - JSON, or an array
    """Convert nested lists of these types of numbers, or an array, to an array of `dtype`.

    A number too large for a float becomes infinite. The types are checked because NumPy would read null as NaN and the
    string "1" as 1, and would allocate the length of the longest string for every string. A list may contain arrays.
    Raises ValueError.
    """
    if isinstance(values, list) and values and all(isinstance(value, np.ndarray) for value in values):
        values = np.stack(values)  # raises ValueError for different shapes
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype == object:
        _check_types(array, types)
    else:
        _check_array(array, types, np.dtype(dtype))
    try:
        with np.errstate(over="ignore"):
            return array.astype(dtype, copy=False)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _check_types(array: NDArray[Any], types: frozenset[type]) -> None:
    found = set(map(type, array.reshape(-1)))
    if found & {list, np.ndarray}:
        raise ValueError("the rows of an input must all have the same length")
    if not found <= types:
        named = sorted(TYPE_NAMES.get(other, other.__name__) for other in found - types)
        raise ValueError(f"an input must contain only numbers, and there is {', '.join(named)}")


def _check_array(array: NDArray[Any], types: frozenset[type], dtype: np.dtype[Any]) -> None:
    """Check the numbers of an array as `_check_types` checks those of lists. NumPy would cut and wrap them."""
    if array.dtype.kind == "f" and float not in types:
        raise ValueError(f"an input must contain only numbers, and there is {TYPE_NAMES[float]}")
    if array.dtype.kind == "i" and dtype.kind in "iu" and array.size:
        for value in (array.min(), array.max()):
            if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
                raise ValueError(f"Python integer {value} out of bounds for {dtype.name}")
