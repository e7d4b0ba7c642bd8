"""Show what is inside of a version: its layers, their kernels, and the feature maps of an image."""

from flask import Response, request, url_for

from api.documents.registry import LayerList
from api.services import services
from api.web.pages.version import load_version
from api.web.rendering import render
from shared.errors import LayerNotFound, list_names
from shared.preprocessing.contract import ImageContract, NumbersContract

MAX_SAMPLES = 12
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "SeparableConv2D")
IMAGE_RANK = 3
SURFACE_INPUTS = [2]


def show_inside(model: str, number: int) -> Response:
    """Show the layers of a version, and the one that `?layer=` names, else the first convolution.

    Raises ModelNotFound, VersionNotFound or LayerNotFound.
    """
    version = load_version(model, str(number))
    stored = services().get_version(model, str(number))
    layers = LayerList(
        layers=stored.manifest["layers"],
        parameters=version.parameters,
        trainable_parameters=version.trainable_parameters,
    ).layers
    names = [layer.name for layer in layers]
    first = next((layer.name for layer in layers if layer.type in CONVOLUTIONS), names[0] if names else None)
    chosen = request.args.get("layer", first)
    if chosen not in names:
        raise LayerNotFound(f"There is no layer {str(chosen)[:100]!r}. The layers are {list_names(names)}.")
    layer = layers[names.index(chosen)]
    contract = version.preprocessing
    return render(
        "models/inside.html",
        "web.show_models",
        script="pages/inside.js",
        script_words=("inside.script.",),
        version=version,
        layers=layers,
        layer=layer,
        has_kernels=layer.type in CONVOLUTIONS,
        has_maps=isinstance(contract, ImageContract) and len(layer.output_shape) == IMAGE_RANK,
        has_surface=isinstance(contract, NumbersContract) and list(contract.shape) == SURFACE_INPUTS,
        samples=[
            url_for("evaluations.draw_test_image", model=model, reference=str(number), index=index)
            for index in sorted(services().list_kept_images(stored))[:MAX_SAMPLES]
        ],
        data={"model": model, "number": number, "layer": layer.name},
    )
