"""The layers of `augmentation`, which change the images of the training and nothing else. Imports no backend."""

from collections.abc import Sequence

import keras

from shared.errors import Fault, InvalidRequest
from shared.networks.arguments import convert_arguments, translate_keras_errors
from shared.preprocessing.contract import ImageContract, NumbersContract
from shared.spec.network import LayerSpec

POINTER = "#/augmentation"
AUGMENTATIONS = frozenset(
    """
    AutoContrast RandomBrightness RandomColorDegeneration RandomContrast RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    """.split()
)
"""They keep an image's size and its label, and draw all that is random from a seed that is given to them."""
COLOR_LAYERS = frozenset({"RandomColorDegeneration", "RandomGrayscale", "RandomHue", "RandomSaturation"})
FIXED_ARGUMENTS = {
    "seed": "all that is random follows from `training.seed`",
    "value_range": "levels are 0 to 255 here",
}
ALLOWED_VALUES = {
    "mode": ("horizontal", "vertical", "horizontal_and_vertical"),
    "fill_mode": ("constant", "nearest", "reflect", "wrap"),
    "interpolation": ("nearest", "bilinear"),
}
"""Keras looks at these late or never."""


def make_augmentation_layers(
    specs: Sequence[LayerSpec], contract: ImageContract | NumbersContract
) -> list[keras.layers.Layer]:
    """For float32 (n, *contract.input_shape) with levels from 0 to 255. Raises InvalidRequest."""
    if specs and not isinstance(contract, ImageContract):
        raise _build_error(
            POINTER, "Only images can be augmented, and the data set holds rows of numbers: leave it out."
        )
    return [_make_layer(spec, contract.input_shape, f"{POINTER}/{index}") for index, spec in enumerate(specs)]


def _make_layer(spec: LayerSpec, shape: tuple[int, ...], pointer: str) -> keras.layers.Layer:
    if spec.layer not in AUGMENTATIONS:
        detail = f"{spec.layer!r} is not one of the layers to augment with: {', '.join(sorted(AUGMENTATIONS))}."
        raise _build_error(f"{pointer}/layer", detail)
    if spec.layer in COLOR_LAYERS and shape[-1] == 1:
        raise _build_error(pointer, f"{spec.layer} is for images in colour, and these are grayscale.")
    for key in sorted(FIXED_ARGUMENTS.keys() & spec.arguments.keys()):
        raise _build_error(f"{pointer}/{key}", f"{FIXED_ARGUMENTS[key].capitalize()}: leave it out.")
    for key in sorted(ALLOWED_VALUES.keys() & spec.arguments.keys()):
        if spec.arguments[key] not in ALLOWED_VALUES[key]:
            raise _build_error(
                f"{pointer}/{key}", f"{spec.arguments[key]!r} is none of {', '.join(ALLOWED_VALUES[key])}."
            )
    layer_class = getattr(keras.layers, spec.layer)
    with translate_keras_errors(f"{spec.layer} cannot be made", pointer):
        return layer_class(**convert_arguments(layer_class, spec.arguments, pointer))


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The images cannot be augmented so.", (Fault(pointer, detail),))
