"""Preprocess the inputs of a request to rows of the network's input."""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
import pybase64
from numpy.typing import NDArray

from shared.datasets.cells import MAX_FLOAT32
from shared.datasets.encodings import encode_row
from shared.datasets.texts import find_text_fault
from shared.errors import ImageTooLarge, InvalidImage, InvalidRequest, Overloaded, ServiceError, list_names
from shared.inference.arrays import REAL_TYPES, to_array
from shared.inference.meaning import Meaning, find_meaning
from shared.preprocessing.contract import Contract, ImageContract, NumbersContract, Polarity
from shared.preprocessing.decoding import ImageLimits, PixelBudget, read_header
from shared.preprocessing.handwriting import is_dark_on_light
from shared.preprocessing.image_decoder import MAX_FREE_PIXELS, ImageDecoder
from shared.preprocessing.image_header import ImageHeader, parse_header
from shared.preprocessing.pixels import WHITE, Pixels
from shared.preprocessing.text import TextContract, encode_padded
from shared.preprocessing.transforms import TransformedImage, transform_image
from shared.spec.preprocessing import Fit, Invert, Scale

INVERTED_WARNING = "The image is dark on light and was inverted."
POLARITY_WARNINGS = {
    Polarity.DARK: "The image is dark on light, and the version was trained on light on dark. Send it inverted, "
    "or train with `invert: auto`.",
    Polarity.LIGHT: "The image is light on dark, and the version was trained on dark on light. Send it inverted.",
}
NO_WORD_WARNING = (
    "None of the words of the text is in the vocabulary of the version: the prediction is that for an empty text."
)
BLANK_WARNING = "The image is blank: all its pixels are about the same."
TRANSPARENT_WARNING = (
    "The image is blank over the background of the version, {}: its strokes have the same colour, on a transparent "
    "canvas. Send it without transparency, in another colour."
)
MIN_CONTRAST = 6
"""Levels between the darkest and the lightest pixel; an image with less is blank."""
MAX_SQUEEZE = 2
"""An image whose ratio of width to height changes by this factor or more is squeezed."""
MIN_UPSCALING = 2
"""An image is too small if both sides, times this factor, are at most those that the network takes."""
INPUT_RANGES = {Scale.UNIT: (0.0, 1.0), Scale.SIGNED: (-1.0, 1.0)}
"""The smallest and largest number that the network was trained on."""
RANGE_MARGIN = 0.1
"""Numbers may lie outside of INPUT_RANGES by this share of it: interpolated images do."""
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class ImageInput:
    """An encoded image of a request. `name` identifies it in messages. Its content alone tells its format."""

    name: str
    data: bytes

    @cached_property
    def header(self) -> ImageHeader | None:
        """Return what `parse_header` returns, which takes some of the time of a small image. Raises InvalidImage."""
        return parse_header(self.data)


@dataclass(frozen=True)
class NumbersInput:
    """Numbers of a request: nested lists of JSON, or an array. `name` identifies them in messages."""

    name: str
    values: Any

    @cached_property
    def array(self) -> NDArray[Any]:
        """Return the numbers as an array: uint8 if they are one already, else float64. Raises ValueError."""
        if isinstance(self.values, np.ndarray) and self.values.dtype == np.uint8:
            return self.values
        array = to_array(self.values, REAL_TYPES, np.float64)
        if not (np.isfinite(array).all() and np.abs(array).max(initial=0) <= MAX_FLOAT32):
            raise ValueError("an input must contain only finite 32-bit numbers")
        return array


@dataclass(frozen=True)
class TextInput:
    """A text of a request. `name` identifies it in messages."""

    name: str
    text: str


Input = ImageInput | NumbersInput | TextInput
Size = tuple[int, int]
"""Height and width before preprocessing."""


def parse_instance(instance: Any, name: str, columns: Sequence[str]) -> Input:  # noqa: ANN401 - JSON
    """Parse an instance of a JSON body.

    `{"b64": …}` is an image or a text in UTF-8. A string, or `{"text": …}`, is a text. Another object is a row by the
    names of its columns, of which it must have all of `columns`, the names of the version's columns. Anything else is
    numbers. Raises InvalidRequest or InvalidImage.
    """
    if isinstance(instance, str):
        return TextInput(name, instance)
    if not isinstance(instance, dict):
        return NumbersInput(name, instance)
    if instance.keys() == {"text"} and isinstance(instance["text"], str) and columns != ("text",):
        return TextInput(name, instance["text"])
    if columns and instance.keys() != {"b64"}:
        return NumbersInput(name, order_row(instance, columns, name))
    if instance.keys() != {"b64"}:
        raise InvalidRequest(f'{name}: an image must be {{"b64": "…"}} without other keys.')
    return ImageInput(name, decode_base64(instance["b64"], name))


def order_row(row: Mapping[str, Any], columns: Sequence[str], name: str) -> list[Any]:
    """Return the values of a row in the order of the version's columns. Other keys are left out.

    Raises InvalidRequest if a column is missing; `name` identifies the row in the message.
    """
    missing = [column for column in columns if column not in row]
    if missing:
        raise InvalidRequest(
            f"{name}: the columns {list_names(missing)} are missing. A row is a list of {len(columns)} values, or an "
            f"object with the columns {list_names(columns)}."
        )
    return [row[column] for column in columns]


def decode_base64(text: object, name: str) -> bytes:
    """Decode the base64 of an image. Raises InvalidImage, which names the input.

    Line breaks, a missing padding, the alphabet for URLs and a prefix such as `data:image/png;base64,` are accepted.
    """
    if not isinstance(text, str):
        raise InvalidImage(f"{name}: the base64 of an image must be a string.")
    try:
        return pybase64.b64decode(text, validate=True)  # about 40 times as fast as the standard library
    except ValueError:
        pass
    bare = "".join(_DATA_URL.sub("", text, count=1).split()).translate(_URL_SAFE).rstrip("=")
    try:
        return pybase64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError as error:
        raise InvalidImage(f"{name}: not base64: {error}.") from None


class PreprocessedInput(NamedTuple):
    """A row of the network's input, float32 of the contract's input shape, and warnings for the sender."""

    values: NDArray[np.float32]
    warnings: list[str]


def preprocess_input(
    given: Input,
    contract: Contract,
    decoder: ImageDecoder,
    budget: PixelBudget | None = None,
    meaning: Meaning | None = None,
) -> PreprocessedInput:
    """Preprocess one input to a row of the network's input.

    `budget` is what the other images of the same request leave; None for no limit on them. `meaning` is that of the
    numbers of all its images; None to decide it by this input alone.

    Raises InvalidImage, ImageTooLarge, UnsupportedContent, InvalidRequest or Overloaded; each message but the last
    names the input.
    """
    if isinstance(contract, ImageContract):
        if isinstance(given, NumbersInput) and (meaning or find_inputs_meaning([given], contract)) is Meaning.NETWORK:
            return _take_network_input(given, contract)
        return _preprocess_image(given, contract, decoder, budget or PixelBudget(None, ""))
    if isinstance(contract, TextContract):
        return _preprocess_text(given, contract)
    if isinstance(given, TextInput):
        raise InvalidRequest(f"{given.name}: this version takes numbers of shape {list(contract.shape)}, not a text.")
    if isinstance(given, ImageInput):
        raise InvalidRequest(
            f"{given.name}: this version takes numbers of shape {list(contract.shape)}, not an image. Send JSON, such "
            'as {"instances": […]}, with the header `Content-Type: application/json`.'
        )
    return PreprocessedInput(contract.normalisation.apply(_parse_row(given, contract)), [])


def _preprocess_image(
    given: Input, contract: ImageContract, decoder: ImageDecoder, budget: PixelBudget
) -> PreprocessedInput:
    if isinstance(given, TextInput):
        raise InvalidRequest(
            f'{given.name}: this version takes images, not a text. Send the base64 of an image as {{"b64": "…"}}.'
        )
    is_transparent = False
    if isinstance(given, ImageInput):
        (pixels, inverted), header = _decode(given, contract, decoder, budget)
        size, is_transparent = (header.height, header.width), header.transparent
    else:
        image, size = _parse_pixels(given, decoder.limits)
        pixels, inverted = transform_image(image, contract)
    warnings = _find_warnings(pixels, size, contract)
    if is_transparent and warnings[:1] == [BLANK_WARNING]:
        warnings[0] = TRANSPARENT_WARNING.format(contract.background[0])
    polarity = contract.ground
    if inverted and contract.invert is Invert.AUTO:
        warnings.append(INVERTED_WARNING)
    elif polarity is not None and not warnings and is_dark_on_light(pixels) != (polarity is Polarity.LIGHT):
        warnings.append(POLARITY_WARNINGS[polarity])
    return PreprocessedInput(contract.normalisation.apply_to_pixels(pixels), warnings)


def _preprocess_text(given: Input, contract: TextContract) -> PreprocessedInput:
    """Convert a text to indices, or take indices as they are. Raises InvalidRequest."""
    text = read_text(given)
    if text is None:
        assert isinstance(given, NumbersInput)  # noqa: S101 - all others have a text
        return PreprocessedInput(_take_indices(given, contract), [])
    if fault := find_text_fault(text):
        raise InvalidRequest(f"{given.name}: the text {fault}.")
    indices = encode_padded(contract, text)
    warnings = []
    if not indices.any():
        if contract.needs_word:
            raise InvalidRequest(
                f"{given.name}: none of the words of the text is in the vocabulary of the version, and the network "
                "averages over known words. Send a text with one."
            )
        warnings.append(NO_WORD_WARNING)
    return PreprocessedInput(indices.astype(np.float32), warnings)


def read_text(given: Input) -> str | None:
    """Return the text of an input; None for numbers. Raises InvalidRequest for bytes that are not UTF-8."""
    if isinstance(given, TextInput):
        return given.text
    if isinstance(given, ImageInput):
        try:
            return given.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"{given.name}: this version takes texts in UTF-8, and this is none: {error}."
            ) from None
    cells = given.values if isinstance(given.values, list) else [given.values]
    return cells[0] if len(cells) == 1 and isinstance(cells[0], str) else None  # the row of a table with one column


def _take_indices(given: NumbersInput, contract: TextContract) -> NDArray[np.float32]:
    expected = f"this version takes a text, or its {contract.length} word indices from 0 to {contract.size - 1}"
    row = _parse_array(given, expected)
    if row.shape != contract.input_shape or not are_indices(row, contract):
        raise InvalidRequest(f"{given.name}: {expected}.")
    return row.astype(np.float32)


def are_indices(numbers: NDArray[Any], contract: TextContract) -> bool:
    """Return whether all numbers are indices of the vocabulary."""
    return bool(((numbers >= 0) & (numbers < contract.size) & (numbers == np.rint(numbers))).all())


def preprocess_inputs(
    inputs: Sequence[Input | ServiceError],
    contract: Contract,
    decoder: ImageDecoder,
    budget: PixelBudget,
    meaning: Meaning | None = None,
) -> tuple[list[NDArray[np.float32]], list[list[str] | ServiceError]]:
    """Preprocess several inputs, whose images share the budget.

    `meaning` is that of the numbers of images; None to decide it by these inputs.

    Returns:
        The rows of the inputs that can be read, in their order; and for every input its warnings, or the error.

    Raises Overloaded if an image waits too long to be decoded.
    """
    if meaning is None:
        meaning = find_inputs_meaning(inputs, contract)
    rows: list[NDArray[np.float32]] = []
    read: list[list[str] | ServiceError] = []
    for given in inputs:
        try:
            if isinstance(given, ServiceError):
                raise given
            row = preprocess_input(given, contract, decoder, budget, meaning)
        except Overloaded:  # it is no fault of this input, and the next would wait too
            raise
        except ServiceError as found:
            read.append(found)
        else:
            rows.append(row.values)
            read.append(row.warnings)
    return rows, read


def find_inputs_meaning(inputs: Iterable[Input | ServiceError], contract: Contract) -> Meaning | None:
    """Return what the numbers of the request's images are; None if it has none that can be read."""
    if not isinstance(contract, ImageContract):
        return None
    images = []
    for given in inputs:
        if isinstance(given, NumbersInput):
            with contextlib.suppress(ValueError):  # it is reported when the input is preprocessed
                images.append(given.array)
    return find_meaning(images, contract.input_shape) if images else None


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
        warnings.append(BLANK_WARNING)
    squeeze = width * contract.size[0] / (height * contract.size[1])
    if contract.fit is Fit.STRETCH and not 1 / MAX_SQUEEZE < squeeze < MAX_SQUEEZE:
        warnings.append(
            f"The image is {width} × {height} and was squeezed to {contract.size[1]} × {contract.size[0]}: `fit: pad` "
            "keeps its ratio."
        )
    if MIN_UPSCALING * height <= contract.size[0] and MIN_UPSCALING * width <= contract.size[1]:
        warnings.append(
            f"The image is only {width} × {height}, and the network takes {contract.size[1]} × {contract.size[0]}. "
            "Send a larger image."
        )
    return warnings


def _decode(
    given: ImageInput, contract: ImageContract, decoder: ImageDecoder, budget: PixelBudget
) -> tuple[TransformedImage, ImageHeader]:
    """Decode and transform an image. Returns the result and the header of the image."""
    try:
        header = read_header(given.data, decoder.limits, given.header)
        is_little = budget.spend(header)
        image = decoder.transform(given.data, header, contract, here=is_little)
    except (InvalidImage, ImageTooLarge) as error:
        raise type(error)(f"{given.name}: {error.detail}.") from error
    return image, header


def _take_network_input(given: NumbersInput, contract: ImageContract) -> PreprocessedInput:
    """Take numbers as the network's input, without the contract. Raises InvalidRequest."""
    shape = contract.input_shape
    row = _parse_array(given, f"the network's input is float32 of shape {list(shape)}")
    if row.shape != shape:
        raise InvalidRequest(
            f"{given.name}: numbers with fractions are the network's input, of shape {list(shape)}, and these have "
            f"the shape {list(row.shape)}. Send this shape, or pixels as whole numbers from 0 to 255 of any size."
        )
    lowest, highest = INPUT_RANGES.get(contract.scale, (-np.inf, np.inf))
    warnings = []
    if row.min() < lowest - RANGE_MARGIN or row.max() > highest + RANGE_MARGIN:
        warnings.append(
            f"The numbers lie between {row.min():.4g} and {row.max():.4g}, and the network was trained on {lowest:g} "
            f"to {highest:g}. Send pixels as whole numbers from 0 to 255, or numbers in this range."
        )
    return PreprocessedInput(row.astype(np.float32), warnings)


def _parse_pixels(given: NumbersInput, limits: ImageLimits) -> tuple[Pixels, Size]:
    """Parse a decoded image, integers from 0 to 255, of shape (height, width) or (height, width, 1 or 3).

    Returns:
        The pixels (height, width, 1 or 3) and the size.
    """
    pixels = _parse_array(given, "an image is [height, width] or [height, width, channels]")
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
    if pixels.dtype != np.uint8 and (pixels.min() < 0 or pixels.max() > WHITE):
        raise InvalidRequest(
            f"{given.name}: pixels are whole numbers from 0 to 255, and these lie between {pixels.min():g} and "
            f"{pixels.max():g}. The network's input instead is float32 of its own shape."
        )
    return pixels.astype(np.uint8, copy=False), (pixels.shape[0], pixels.shape[1])


def _parse_row(given: NumbersInput, contract: NumbersContract) -> NDArray[np.float32]:
    """Parse a row of a table, before it is scaled."""
    shape = contract.shape
    if contract.columns and isinstance(given.values, list):
        try:
            return np.asarray(encode_row(given.values, contract.columns), np.float32)
        except ValueError as error:
            raise InvalidRequest(f"{given.name}: {error}.") from None
    values = _parse_array(given, f"this version takes numbers of shape {list(shape)}")
    if values.shape != shape and (values.size, shape) != (1, (1,)):
        raise InvalidRequest(
            f"{given.name}: this version takes numbers of shape {list(shape)}, not of shape {list(values.shape)}."
        )
    return values.reshape(shape).astype(np.float32)


def _parse_array(given: NumbersInput, expected: str) -> NDArray[Any]:
    try:
        return given.array
    except ValueError as error:
        raise InvalidRequest(f"{given.name}: {error}; {expected}.") from None
