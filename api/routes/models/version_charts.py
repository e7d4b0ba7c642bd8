"""Draw the evaluation of a version, and its predictions over the plane of two inputs."""

from typing import Any

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from api.access.needs import needs
from api.charts import drawings
from api.charts.decision_surface import compute_surface
from api.charts.drawings import Tile
from api.charts.kinds import Drawing
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.http.mistakes import MistakesFilter, select_mistakes
from api.http.paths import VersionPicturePath
from api.http.requests import parse_request
from api.http.responses import describe_problems
from api.services import services
from shared.access.rights import Scope
from shared.database.tables.registry import Version
from shared.datasets.stored_inline import read_stored_inline
from shared.errors import (
    ArtifactDamaged,
    EvaluationNotFound,
    ModelNotFound,
    PictureNotFound,
    VersionNotFound,
    VersionNotServable,
)
from shared.registry.evaluation import (
    ANSWERS_FILE,
    EVALUATION_FILE,
    IMAGES_FILE,
    Evaluation,
    TestImages,
    TestPredictions,
    choose_sample_rows,
    get_evaluation_file,
    read_evaluation_file,
)
from shared.registry.imports import IMPORTED, is_imported
from shared.spec.dataset import DatasetSpec
from shared.spec.training import TrainingSpec

ANSWERS: dict[Any, Any] = {
    200: PICTURE,
    **describe_problems(
        ModelNotFound, VersionNotFound, EvaluationNotFound, PictureNotFound, ArtifactDamaged, VersionNotServable
    ),
}
SAMPLE_ROWS = 32

bp = APIBlueprint(
    "version_pictures",
    __name__,
    url_prefix="/api/v1/models/<model>/versions/<reference>",
    abp_tags=[Tag(name="Pictures")],
)


class GalleryQuery(PictureQuery, MistakesFilter):
    """Query parameters of a picture of misclassified images. `limit` is the maximum number of images."""

    limit: int = Field(default=16, ge=1, le=100)


class SampleQuery(PictureQuery):
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Draws 32 of the kept images at random, for each number others. Default: the first images.",
    )


@bp.get("/evaluation/confusion.<picture_format>", responses=ANSWERS)
@needs(Scope.READ)
@parse_request
def draw_confusion(path: VersionPicturePath, query: PictureQuery) -> Response:
    """Draw the confusion matrix of a version.

    Each cell shows a number of test rows, and as its colour their share of the true class.
    """
    version = services().get_version(path.model, path.reference)
    content = ("confusion", _format_name(version), _get_digest(version, EVALUATION_FILE))

    def make() -> Drawing:
        file = read_evaluation_file(services().artifacts, version, EVALUATION_FILE)
        evaluation = Evaluation.model_validate_json(file)
        report = evaluation.classification
        if report is None:
            raise PictureNotFound("A confusion matrix needs a version that predicts one class for each row.")
        title = f"{_format_name(version)}: accuracy {report.accuracy:.4f} on {evaluation.rows:,} test rows"
        return drawings.draw_confusion(title, version.manifest["classes"], report)

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


@bp.get("/evaluation/mistakes.<picture_format>", responses=ANSWERS)
@needs(Scope.READ)
@parse_request
def draw_mistakes(path: VersionPicturePath, query: GalleryQuery) -> Response:
    """Draw misclassified test images."""
    version = services().get_version(path.model, path.reference)
    content = ("mistakes", _format_name(version), _get_digest(version, ANSWERS_FILE), _get_digest(version, IMAGES_FILE))

    def make() -> Drawing:
        answers, shown, classes = _read_evaluation(version)
        rows = select_mistakes(answers, classes, query)
        positions = {int(row): index for index, row in enumerate(shown.rows)}
        tiles = [
            Tile(shown.images[positions[row]], _format_caption(answers, classes, row), right=False)
            for row in rows.tolist()
            if row in positions
        ]
        if not tiles:
            raise PictureNotFound("No misclassified test image matches the query.")
        return drawings.draw_gallery(f"{_format_name(version)}: {len(rows):,} mistakes", tiles[: query.limit])

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


@bp.get("/evaluation/sample.<picture_format>", responses=ANSWERS)
@needs(Scope.READ)
@parse_request
def draw_sample(path: VersionPicturePath, query: SampleQuery) -> Response:
    """Draw the first test images with their predictions, or with `seed` others, drawn at random.

    Correct predictions are green, wrong predictions are red.
    """
    version = services().get_version(path.model, path.reference)
    content = ("sample", _format_name(version), _get_digest(version, ANSWERS_FILE), _get_digest(version, IMAGES_FILE))

    def make() -> Drawing:
        answers, shown, classes = _read_evaluation(version)
        first = np.arange(min(SAMPLE_ROWS, len(answers.true)))
        if query.seed is not None:
            first = np.random.default_rng(query.seed).permutation(choose_sample_rows(len(answers.true)))[:SAMPLE_ROWS]
        places = {int(row): place for place, row in enumerate(shown.rows)}
        rows = [row for row in first.tolist() if row in places]
        if len(rows) < len(first) and query.seed is not None:
            raise PictureNotFound(
                "The version is of an earlier release, which kept no sample of test images. Train it again."
            )
        right = [bool(answers.true[row] == answers.predicted[row]) for row in rows]
        tiles = [
            Tile(shown.images[places[row]], _format_caption(answers, classes, row), right=is_right)
            for row, is_right in zip(rows, right, strict=True)
        ]
        return drawings.draw_gallery(f"{_format_name(version)}: {sum(right)} of {len(rows)} right", tiles)

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


@bp.get("/decision-surface.<picture_format>", responses=ANSWERS)
@needs(Scope.READ)
@parse_request
def draw_surface(path: VersionPicturePath, query: PictureQuery) -> Response:
    """Draw the decision surface of a version.

    It shows the predictions over the plane of two inputs, for a network that takes two numbers.
    """
    version = services().get_version(path.model, path.reference)
    names = tuple(version.manifest.get("columns", ()))
    content = ("surface", _format_name(version), version.manifest["weights_digest"], names)

    def make() -> Drawing:
        servable = services().model_cache.get_or_load(version)
        dataset = DatasetSpec(name=IMPORTED)  # without rows
        if not is_imported(version.manifest):
            dataset = TrainingSpec.model_validate(version.manifest["lineage"]["spec"]).dataset
        surface = compute_surface(servable, read_stored_inline(dataset, services().artifacts), names)
        return drawings.draw_surface(_format_name(version), surface)

    return make_picture_response(services().pictures, path.picture_format, query, content, make)


def _read_evaluation(version: Version) -> tuple[TestPredictions, TestImages, list[str]]:
    answers = TestPredictions.from_bytes(read_evaluation_file(services().artifacts, version, ANSWERS_FILE))
    shown = TestImages.from_bytes(read_evaluation_file(services().artifacts, version, IMAGES_FILE))
    return answers, shown, version.manifest["classes"]


def _get_digest(version: Version, name: str) -> str:
    return get_evaluation_file(version, name).sha256


def _format_caption(answers: TestPredictions, classes: list[str], row: int) -> str:
    predicted, true = (drawings.shorten(classes[index]) for index in (answers.predicted[row], answers.true[row]))
    if answers.predicted[row] == answers.true[row]:
        return predicted
    return f"{predicted} ({answers.probability[row]:.0%})\ntrue: {true}"


def _format_name(version: Version) -> str:
    return f"{version.model} version {version.reference}"
