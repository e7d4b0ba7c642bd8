"""The layers of `augmentation`, which change the images of the training and nothing else. Imports no backend."""

from collections.abc import Sequence

import keras

from shared.errors import Fault, InvalidRequest
from shared.networks.arguments import checked_arguments, keras_errors
from shared.preprocessing.contract import ImageContract, NumbersContract
from shared.spec.network import LayerSpec

AT = "#/augmentation"
AUGMENTATIONS = frozenset(
    """
    AutoContrast RandomBrightness RandomColorDegeneration RandomContrast RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    """.split()
)
"""They keep an image's size and its label, and draw all that is random from a seed that is given to them."""
FOR_COLOR = frozenset({"RandomColorDegeneration", "RandomGrayscale", "RandomHue", "RandomSaturation"})
SETTLED = {
    "seed": "all that is random follows from `training.seed`",
    "value_range": "levels are 0 to 255 here",
}
CHOICES = {
    "mode": ("horizontal", "vertical", "horizontal_and_vertical"),
    "fill_mode": ("constant", "nearest", "reflect", "wrap"),
    "interpolation": ("nearest", "bilinear"),
}
"""Keras looks at these late or never."""


def augmentation_layers(
    specs: Sequence[LayerSpec], contract: ImageContract | NumbersContract
) -> list[keras.layers.Layer]:
    """For float32 (n, *contract.input_shape) with levels from 0 to 255. Raises InvalidRequest."""
    if specs and not isinstance(contract, ImageContract):
        raise _invalid(AT, "Only images can be augmented, and the data set holds rows of numbers: leave it out.")
    return [_layer(spec, contract.input_shape, f"{AT}/{index}") for index, spec in enumerate(specs)]


def _layer(spec: LayerSpec, shape: tuple[int, ...], pointer: str) -> keras.layers.Layer:
    if spec.layer not in AUGMENTATIONS:
        detail = f"{spec.layer!r} is not one of the layers to augment with: {', '.join(sorted(AUGMENTATIONS))}."
        raise _invalid(f"{pointer}/layer", detail)
    if spec.layer in FOR_COLOR and shape[-1] == 1:
        raise _invalid(pointer, f"{spec.layer} is for images in colour, and these are grayscale.")
    for key in sorted(SETTLED.keys() & spec.arguments.keys()):
        raise _invalid(f"{pointer}/{key}", f"{SETTLED[key].capitalize()}: leave it out.")
    for key in sorted(CHOICES.keys() & spec.arguments.keys()):
        if spec.arguments[key] not in CHOICES[key]:
            raise _invalid(f"{pointer}/{key}", f"{spec.arguments[key]!r} is none of {', '.join(CHOICES[key])}.")
    layer_class = getattr(keras.layers, spec.layer)
    with keras_errors(f"{spec.layer} cannot be made", pointer):
        return layer_class(**checked_arguments(layer_class, spec.arguments, pointer))


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The images cannot be augmented so.", (Fault(pointer, detail),))
