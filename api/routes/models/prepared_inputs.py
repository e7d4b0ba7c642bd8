"""Show an image as a version sees it."""

import numpy as np
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access.needs import needs
from api.charts.evaluation_tiles import encode_tile
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems
from api.protocols.rest import REQUEST_BODY, read_inputs
from api.services import services
from shared.access.rights import Scope
from shared.errors import (
    ImageTooLarge,
    InvalidImage,
    MalformedRequest,
    ModelNotFound,
    PictureNotFound,
    RequestTooLarge,
    ServiceError,
    UnsupportedContent,
    VersionNotFound,
)
from shared.inference.inputs import preprocess_input
from shared.preprocessing.contract import ImageContract
from shared.registry.manifest import VersionManifest

bp = APIBlueprint(
    "prepared_inputs",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>",
    abp_tags=[Tag(name="Predictions")],
)


class PreparedQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    side: int | None = Field(
        default=None, ge=8, le=1024, description="The longer side in pixels. Default: the size of the network's input."
    )


@bp.post(
    "/prepared.png",
    responses={
        200: describe_bytes("image/png", "The image in the size and the colours that the network gets."),
        **describe_problems(
            ModelNotFound,
            VersionNotFound,
            PictureNotFound,
            ImageTooLarge,
            InvalidImage,
            MalformedRequest,
            RequestTooLarge,
            UnsupportedContent,
        ),
    },
    openapi_extensions={"requestBody": REQUEST_BODY},
)
@needs(Scope.READ)
@parse_request
def draw_prepared_input(path: VersionPath, query: PreparedQuery) -> Response:
    """Show what a version sees of an image.

    The picture is the image after the preprocessing of the version, before its numbers are normalised.
    It tells why a prediction is wrong: an image that is inverted, squeezed or cut.
    Of several images, only the first is used.
    """
    version = services().get_version(path.model, path.reference)
    manifest = VersionManifest.model_validate(version.manifest)
    contract = manifest.preprocessing
    if not isinstance(contract, ImageContract):
        raise PictureNotFound(
            f"Version {version.reference} of {version.model!r} takes rows of numbers, which have no picture."
        )
    decoder = services().decoder
    given = read_inputs(request, decoder.limits, manifest.columns)[0]
    if isinstance(given, ServiceError):
        raise given
    values = preprocess_input(given, contract, decoder).values
    scale = contract.normalisation
    pixels = np.rint(values * np.asarray(scale.divisor, np.float32) + np.asarray(scale.offset, np.float32))
    image = np.clip(pixels, 0, 255).astype(np.uint8)
    return Response(encode_tile(image, query.side), content_type="image/png", headers={"Cache-Control": "no-store"})
