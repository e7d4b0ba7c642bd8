"""Make the layers of `augmentation`, which change only the training images. Depends on no Keras backend."""

from collections.abc import Sequence

import keras

from shared.errors import Fault, InvalidRequest, suggest
from shared.networks.arguments import convert_arguments, translate_keras_errors
from shared.preprocessing.contract import Contract, ImageContract
from shared.spec.network import LayerSpec

POINTER = "#/augmentation"
AUGMENTATIONS = frozenset(
    """
    AutoContrast RandomBrightness RandomColorDegeneration RandomContrast RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    """.split()
)
"""Layers that keep the size and the label of an image, and whose random numbers depend only on a given seed."""
COLOR_LAYERS = frozenset({"RandomColorDegeneration", "RandomGrayscale", "RandomHue", "RandomSaturation"})
FIXED_ARGUMENTS = {
    "seed": "all random numbers follow from the seed `training.seed`",
    "value_range": "the levels are always 0 to 255",
}
ALLOWED_VALUES = {
    "mode": ("horizontal", "vertical", "horizontal_and_vertical"),
    "fill_mode": ("constant", "nearest", "reflect", "wrap"),
    "interpolation": ("nearest", "bilinear"),
}
"""Values that must be checked here: Keras checks them late or never."""


def make_augmentation_layers(specs: Sequence[LayerSpec], contract: Contract) -> list[keras.layers.Layer]:
    """Make layers for float32 images (n, *contract.input_shape) with levels from 0 to 255. Raises InvalidRequest."""
    if specs and not isinstance(contract, ImageContract):
        raise _build_error(
            POINTER, "Only images can be augmented, and the data set contains rows of numbers. Remove `augmentation`."
        )
    return [_make_layer(spec, contract.input_shape, f"{POINTER}/{index}") for index, spec in enumerate(specs)]


def _make_layer(spec: LayerSpec, shape: tuple[int, ...], pointer: str) -> keras.layers.Layer:
    if spec.layer not in AUGMENTATIONS:
        detail = f"{spec.layer!r} is not an allowed augmentation layer.{suggest(spec.layer, AUGMENTATIONS)}"
        raise _build_error(f"{pointer}/layer", f"{detail} Use one of: {', '.join(sorted(AUGMENTATIONS))}.")
    if spec.layer in COLOR_LAYERS and shape[-1] == 1:
        raise _build_error(pointer, f"{spec.layer} needs colour images, and these are grayscale. Remove the layer.")
    for key in sorted(FIXED_ARGUMENTS.keys() & spec.arguments.keys()):
        raise _build_error(f"{pointer}/{key}", f"{FIXED_ARGUMENTS[key].capitalize()}. Remove this argument.")
    for key in sorted(ALLOWED_VALUES.keys() & spec.arguments.keys()):
        if spec.arguments[key] not in ALLOWED_VALUES[key]:
            raise _build_error(
                f"{pointer}/{key}",
                f"{spec.arguments[key]!r} is not allowed. Use one of: {', '.join(ALLOWED_VALUES[key])}.",
            )
    layer_class = getattr(keras.layers, spec.layer)
    with translate_keras_errors(f"{spec.layer} cannot be created", pointer):
        return layer_class(**convert_arguments(layer_class, spec.arguments, pointer))


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The augmentation is invalid.", (Fault(pointer, detail),))
