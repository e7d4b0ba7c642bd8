"""Receive the weights with which a network of a spec begins."""

import re
import shutil
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.documents.base import Document
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.http.uploads import allow_upload, get_uploaded_file
from api.services import services
from shared.access.rights import Scope
from shared.errors import (
    ArtifactDamaged,
    DiskFull,
    FileNotFound,
    InvalidRequest,
    MalformedRequest,
    RequestTooLarge,
    UnsupportedContent,
)
from shared.networks.weights_file import WeightArray, describe_weights_file
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile

MULTIPART = "multipart/form-data"
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "What `np.savez(path, *model.get_weights())` writes.",
                    }
                },
            }
        }
    },
}

bp = APIBlueprint("weights", __name__, url_prefix="/api/v1/weights", abp_tags=[Tag(name="Jobs")])


class WeightArrayDocument(Document):
    """An array of uploaded weights."""

    name: str
    shape: list[int]
    dtype: str


class WeightsDocument(Document):
    """Uploaded weights. A spec names them as `network.weights`."""

    weights: str = Field(description="The value of `network.weights`: `sha256:` and the digest of the file.")
    arrays: list[WeightArrayDocument] = Field(description="In the order of Keras's `get_weights()`.")


def _describe(array: WeightArray) -> WeightArrayDocument:
    return WeightArrayDocument(name=array.name, shape=list(array.shape), dtype=array.dtype)


class WeightsPath(BaseModel):
    digest: str = Field(description="`sha256:` and the digest of the file.", max_length=100)


@bp.post(
    "",
    responses={
        201: WeightsDocument,
        **describe_problems(DiskFull, MalformedRequest, RequestTooLarge, UnsupportedContent),
    },
    openapi_extensions={"requestBody": BODY},
)
@needs(Scope.TRAIN)
@parse_request
def upload_weights() -> Response:
    """Upload the weights with which a network begins.

    The file has the arrays of Keras's `get_weights()`, in their order; nothing in it is executed.
    It is kept while a job names it, and for an hour after the upload.
    """
    limit = services().ingestor.limits.bytes
    allow_upload(limit, services().disk)
    if request.mimetype != MULTIPART:
        raise UnsupportedContent(f"The Content-Type is {request.mimetype or 'missing'!r}. Send a form with a `file`.")
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        path = Path(folder, "weights.npz")
        with path.open("wb") as copy:
            shutil.copyfileobj(get_uploaded_file(), copy, 2**20)
        arrays = describe_weights_file(path, limit, "#/file")

        def identify(stored: list[StoredFile]) -> str:
            return stored[0].sha256

        digest = tracked_files.store_and_reference(services().sessions, services().artifacts, [path], identify)
    document = WeightsDocument(weights=f"sha256:{digest}", arrays=[_describe(array) for array in arrays])
    location = url_for("weights.show_uploaded_weights", digest=document.weights)
    return to_response(document, HTTPStatus.CREATED, {"Location": location})


@bp.get("/<digest>", responses={200: WeightsDocument, **describe_problems(FileNotFound, InvalidRequest)})
@needs(Scope.READ)
@parse_request
def show_uploaded_weights(path: WeightsPath) -> Response:
    """Show the arrays of uploaded weights."""
    found = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", path.digest)
    missing = FileNotFound(f"There are no weights {path.digest!r}. POST /api/v1/weights uploads some.")
    if found is None:
        raise missing
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        try:
            file = services().artifacts.get_local_path(found[1], Path(folder))
            arrays = describe_weights_file(file, services().ingestor.limits.bytes)
        except (ArtifactDamaged, InvalidRequest) as error:
            raise missing from error
    return to_response(WeightsDocument(weights=f"sha256:{found[1]}", arrays=[_describe(array) for array in arrays]))
