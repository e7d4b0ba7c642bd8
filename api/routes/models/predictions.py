"""Predict one image in the body, several images as files, or inputs as JSON."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.documents.predictions import Predictions
from api.http.paths import ModelPath, VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems
from api.protocols.base import answer_in_flask
from api.protocols.rest import REQUEST_BODY, ROUTE, RestProtocol, read_inputs
from api.services import services
from shared.access.rights import Scope
from shared.errors import (
    ArtifactDamaged,
    ImageTooLarge,
    InvalidImage,
    MalformedRequest,
    ModelNotFound,
    Overloaded,
    RequestTooLarge,
    UnsupportedContent,
    VersionNotFound,
    VersionNotServable,
)

bp = APIBlueprint("predictions", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="Predictions")])

ANSWERS: dict[Any, Any] = {
    200: Predictions,
    **describe_problems(
        ArtifactDamaged,
        ImageTooLarge,
        InvalidImage,
        MalformedRequest,
        ModelNotFound,
        Overloaded,
        RequestTooLarge,
        UnsupportedContent,
        VersionNotFound,
        VersionNotServable,
    ),
}


class PredictionQuery(BaseModel):
    top: int = Field(default=1, ge=1, le=1000, description="The number of most probable classes in each prediction.")


@bp.post("/<model>/predictions", responses=ANSWERS, openapi_extensions={"requestBody": REQUEST_BODY})
@needs(Scope.PREDICT)
@parse_request
def predict_with_model(path: ModelPath, query: PredictionQuery) -> Response:
    """Classify images or rows.

    Uses the version that the alias `production` points to, else the latest version.
    Send an image as the body, images as the files of a form, or JSON with `instances`.
    A version that is trained for a regression returns numbers.
    An input that cannot be read has a problem as its result; if none can be read, the response is a problem.
    """
    return _predict(path.model, None, query.top)


@bp.post(
    "/<model>/versions/<reference>/predictions", responses=ANSWERS, openapi_extensions={"requestBody": REQUEST_BODY}
)
@needs(Scope.PREDICT)
@parse_request
def predict_with_version(path: VersionPath, query: PredictionQuery) -> Response:
    """Classify images or rows with a version.

    `reference` is the number of the version, `latest` or an alias.
    The body and the response are those of `POST /api/v1/models/{model}/predictions`.
    """
    return _predict(path.model, path.reference, query.top)


def _predict(model: str, reference: str | None, top: int) -> Response:
    protocol = RestProtocol(services())
    return answer_in_flask(
        ROUTE,
        model,
        lambda: services().model_cache.get(model, reference),
        lambda servable: protocol.answer_inputs(
            top, servable, read_inputs(request, services().decoder.limits, servable.manifest.columns)
        ),
    )
