"""Predictions: an image as the body, many as files, or JSON."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.answers import document, problems
from api.prediction_requests import REQUEST_BODY, read_inputs
from api.requests import parsed
from api.routes.models import ModelPath, VersionPath
from api.services import services
from api.serving.predict import predict
from shared import registry
from shared.documents import Predictions
from shared.errors import (
    ArtifactDamaged,
    ImageTooLarge,
    InvalidImage,
    MalformedRequest,
    ModelNotFound,
    RequestTooLarge,
    UnsupportedContent,
    VersionNotFound,
    VersionNotServable,
)
from shared.tables import Version

bp = APIBlueprint("predictions", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="Predictions")])

ANSWERS: dict[Any, Any] = {
    200: Predictions,
    **problems(
        ArtifactDamaged,
        ImageTooLarge,
        InvalidImage,
        MalformedRequest,
        ModelNotFound,
        RequestTooLarge,
        UnsupportedContent,
        VersionNotFound,
        VersionNotServable,
    ),
}


class PredictionQuery(BaseModel):
    top: int = Field(default=1, ge=1, le=1000, description="How many classes to name for each input")


@bp.post("/<model>/predictions", responses=ANSWERS, openapi_extensions={"requestBody": REQUEST_BODY})
@parsed
def predict_with_model(path: ModelPath, query: PredictionQuery) -> Response:
    """By the version that `production` points at, or else the latest."""
    with services().sessions() as session:
        version = registry.get_served_version(session, path.model)
    return _predictions(version, query.top)


@bp.post(
    "/<model>/versions/<reference>/predictions", responses=ANSWERS, openapi_extensions={"requestBody": REQUEST_BODY}
)
@parsed
def predict_with_version(path: VersionPath, query: PredictionQuery) -> Response:
    """By one version: a number, `latest` or an alias."""
    with services().sessions() as session:
        version = registry.get_version(session, path.model, path.reference)
    return _predictions(version, query.top)


def _predictions(version: Version, top: int) -> Response:
    loaded = services().shelf.take(version)
    limits = services().image_limits
    answers = predict(loaded, read_inputs(request, limits), limits, top)
    return document(Predictions(model=version.model, version=version.number, predictions=answers))
