"""List the layers of a version, and draw their kernels and feature maps."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from numpy.typing import NDArray

from api.access.needs import needs
from api.charts import drawings
from api.charts.kinds import Drawing
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.documents.layers import LayerWeights, describe_weights, list_arrays
from api.documents.registry import LayerList
from api.http.paths import LayerPath, LayerPicturePath, VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.planner.messages import LayerOutputRequest
from api.protocols.rest import REQUEST_BODY, read_inputs
from api.services import services
from shared.access.rights import Scope
from shared.database.tables.registry import Version
from shared.errors import (
    ArtifactDamaged,
    ImageTooLarge,
    InvalidImage,
    LayerNotFound,
    MalformedRequest,
    ModelNotFound,
    PictureNotFound,
    PlanningUnavailable,
    RequestTooLarge,
    ServiceError,
    UnsupportedContent,
    VersionNotFound,
)
from shared.inference.inputs import preprocess_input
from shared.registry import versions
from shared.registry.manifest import MANIFEST_FILE, ManifestFile

MAX_TILES = 64
COLOR_CHANNELS = 3
KERNEL_RANK = 4  # height, width, input channels, output channels
MAP_RANK = 3  # height, width, channels

bp = APIBlueprint(
    "layers", __name__, url_prefix="/api/v1/models/<model>/versions/<reference>/layers", abp_tags=[Tag(name="Pictures")]
)


FAILURES: dict[Any, Any] = describe_problems(
    ModelNotFound, VersionNotFound, LayerNotFound, PictureNotFound, ArtifactDamaged, PlanningUnavailable
)
WEIGHTS: dict[Any, Any] = describe_problems(
    ModelNotFound, VersionNotFound, LayerNotFound, ArtifactDamaged, PlanningUnavailable
)
POSTED: dict[Any, Any] = describe_problems(
    ModelNotFound,
    VersionNotFound,
    LayerNotFound,
    PictureNotFound,
    ArtifactDamaged,
    PlanningUnavailable,
    ImageTooLarge,
    InvalidImage,
    MalformedRequest,
    RequestTooLarge,
    UnsupportedContent,
)


@bp.get("", responses={200: LayerList, **describe_problems(ModelNotFound, VersionNotFound)})
@needs(Scope.READ)
@parse_request
def list_layers(path: VersionPath) -> Response:
    """List the layers of a version.

    Each layer has its name, type, output shape and number of parameters.
    """
    manifest = services().get_version(path.model, path.reference).manifest
    return to_response(LayerList.model_validate({key: manifest[key] for key in LayerList.model_fields}))


@bp.get("/<layer>/weights", responses={200: LayerWeights, **WEIGHTS})
@needs(Scope.READ)
@parse_request
def show_weights(path: LayerPath) -> Response:
    """Show the weights of a layer: their statistics and histograms, and the numbers of a small layer.

    The arrays are those of `get_weights()` of Keras, in their order.
    """
    version = services().get_version(path.model, path.reference)
    _check_layer(version, path.layer)
    return to_response(describe_weights(path.layer, _read_weights(version, path.layer)))


@bp.get(
    "/<layer>/weights.npz",
    responses={200: describe_bytes("application/zip", "The arrays by their place and name."), **WEIGHTS},
)
@needs(Scope.READ)
@parse_request
def download_weights(path: LayerPath) -> Response:
    """Download all weights of a layer as npz.

    The arrays are named by their place in `get_weights()` of Keras and by their name: `0 kernel`, `1 bias`.
    """
    version = services().get_version(path.model, path.reference)
    _check_layer(version, path.layer)
    name = f"{version.model}-{version.reference}-weights.npz"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_read_weights(version, path.layer), content_type="application/zip", headers=headers)


@bp.get("/<layer>/kernels.<picture_format>", responses={200: PICTURE, **FAILURES})
@needs(Scope.READ)
@parse_request
def draw_kernels(path: LayerPicturePath, query: PictureQuery) -> Response:
    """Draw the kernels of a convolution.

    Kernels for 3 input channels are drawn in colour; others as the mean over their input channels.
    The picture has at most 64 kernels.
    """
    version = services().get_version(path.model, path.reference)
    _check_layer(version, path.layer)
    title = f"{version.model} version {version.reference}, {path.layer}"
    content = ("kernels", title, version.manifest["weights_digest"])

    def make() -> Drawing:
        kernel = next((array for _, array in list_arrays(_compute_weights(version, path.layer))), np.zeros(0))
        if kernel.ndim != KERNEL_RANK:
            raise PictureNotFound(f"{path.layer} has no kernels of 4 dimensions. Choose a convolution over images.")
        height, width, channels, filters = kernel.shape
        stack = np.moveaxis(kernel, -1, 0)[:MAX_TILES]
        captions = [f"filter {index}" for index in range(len(stack))]
        if channels == COLOR_CHANNELS:
            low, high = stack.min(), stack.max()
            return drawings.draw_maps(
                f"{title}: {filters} kernels of {height} × {width}, in colour",
                (stack - low) / (high - low or 1),
                captions,
            )
        mean = f", the mean of {channels} channels" if channels > 1 else ""
        return drawings.draw_maps(
            f"{title}: {filters} kernels of {height} × {width}{mean}", stack.mean(axis=-1).astype(np.float64), captions
        )

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


@bp.post(
    "/<layer>/feature-maps.<picture_format>",
    responses={200: PICTURE, **POSTED},
    openapi_extensions={"requestBody": REQUEST_BODY},
)
@needs(Scope.READ)
@parse_request
def draw_feature_maps(path: LayerPicturePath, query: PictureQuery) -> Response:
    """Draw the feature maps of an image.

    The feature maps are the output of the layer for this image, one for each channel.
    The picture has at most 64 maps. Of several images, only the first is used.
    """
    version = services().get_version(path.model, path.reference)
    _check_layer(version, path.layer)
    decoder = services().decoder
    manifest = _read_manifest(version)
    given = read_inputs(request, decoder.limits, manifest.columns)[0]
    if isinstance(given, ServiceError):
        raise given
    row = preprocess_input(given, manifest.preprocessing, decoder).values
    title = f"{version.model} version {version.reference}, {path.layer}"
    content = ("feature maps", title, version.manifest["weights_digest"], row.tobytes())

    def make() -> Drawing:
        (output,) = _compute_layer_output(version, path.layer, row[np.newaxis])
        if output.ndim != MAP_RANK:
            raise PictureNotFound(
                f"The output of {path.layer} has the shape {list(output.shape)}. "
                "Feature maps need an output of 3 dimensions: height, width and channels."
            )
        height, width, channels = output.shape
        stack = np.moveaxis(output, -1, 0)[:MAX_TILES].astype(np.float64)
        captions = [f"channel {index}" for index in range(len(stack))]
        return drawings.draw_maps(f"{title}: {channels} maps of {height} × {width}", stack, captions)

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


def _check_layer(version: Version, name: str) -> None:
    names = [row["name"] for row in version.manifest["layers"]]
    if name not in names:
        raise LayerNotFound(
            f"Version {version.reference} of {version.model!r} has no layer {name!r}. Its layers are "
            f"{', '.join(names)}."
        )


def _read_manifest(version: Version) -> ManifestFile:
    content = services().artifacts.read(versions.get_file(version, MANIFEST_FILE).sha256)
    return ManifestFile.model_validate_json(content)


def _compute_layer_output(version: Version, layer: str, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the output of a layer for `inputs`, (n, *input_shape). Raises PlanningUnavailable or ArtifactDamaged."""
    with _ask_planner(version, layer, inputs) as folder:
        output: NDArray[np.float32] = np.load(folder / "output.npy", allow_pickle=False)
        return output


def _compute_weights(version: Version, layer: str) -> bytes:
    """Return all weights of a layer as npz. Raises PlanningUnavailable or ArtifactDamaged."""
    with _ask_planner(version, layer, None) as folder:
        return (folder / "weights.npz").read_bytes()


def _read_weights(version: Version, layer: str) -> bytes:
    """Return what `_compute_weights` does, from the cache if it was asked for lately. Raises Overloaded as well."""
    digest = hashlib.sha256(repr(("weights", version.manifest["weights_digest"], layer)).encode()).hexdigest()
    return services().pictures.get_or_render(digest, lambda: _compute_weights(version, layer))


@contextmanager
def _ask_planner(version: Version, layer: str, inputs: NDArray[np.float32] | None) -> Iterator[Path]:
    """Ask a planning process for the output or the weights of a layer, and provide the folder with its answer."""
    manifest = _read_manifest(version)
    with tempfile.TemporaryDirectory(prefix="trainyard-") as name:
        folder = Path(name)
        (folder / "architecture.json").write_text(json.dumps(manifest.architecture))
        weights = services().artifacts.read(versions.get_file(version, "model.weights.h5").sha256)
        (folder / "model.weights.h5").write_bytes(weights)
        if inputs is not None:
            np.save(folder / "input.npy", inputs)
        services().planner.compute_layer_output(
            LayerOutputRequest(folder=folder, input_shape=manifest.preprocessing.input_shape, layer=layer)
        )
        yield folder
