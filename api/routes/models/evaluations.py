"""Show how well a version predicts the test part of its data."""

import numpy as np
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.charts.evaluation_tiles import encode_tile
from api.documents.evaluations import Calibration, EvaluationRowList, Mistake, MistakeList, describe_rows
from api.http.mistakes import MistakesFilter, RowsFilter, select_mistakes, select_rows
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.paths import TilePath, VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.database.pagination import Key
from shared.errors import (
    ArtifactDamaged,
    EvaluationNotFound,
    FileNotFound,
    ModelNotFound,
    VersionNotFound,
)
from shared.registry.evaluation import (
    ANSWERS_FILE,
    EVALUATION_FILE,
    IMAGES_FILE,
    Evaluation,
    TestPredictions,
    get_evaluation_file,
    read_evaluation_file,
)

FAILURES = describe_problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged)

bp = APIBlueprint(
    "evaluations", __name__, url_prefix="/api/v1/models/<model>/versions/<reference>", abp_tags=[Tag(name="Evaluation")]
)


class MistakesQuery(PageQuery, MistakesFilter):
    pass


class RowsQuery(PageQuery, RowsFilter):
    pass


class TileQuery(BaseModel):
    side: int | None = Field(
        default=None, ge=8, le=1024, description="The longer side in pixels. Default: the size of the network's input."
    )


@bp.get("/evaluation", responses={200: Evaluation, **FAILURES})
@needs(Scope.READ)
@parse_request
def show_evaluation(path: VersionPath) -> Response:
    """Show the evaluation of a version.

    It contains the metrics on the test part, and a report on the classes or on the errors of a regression.
    """
    version = services().get_version(path.model, path.reference)
    return Response(
        read_evaluation_file(services().artifacts, version, EVALUATION_FILE), content_type="application/json"
    )


@bp.get("/evaluation/mistakes", responses={200: MistakeList, **FAILURES})
@needs(Scope.READ)
@parse_request
def list_mistakes(path: VersionPath, query: MistakesQuery) -> Response:
    """List the misclassified test rows."""
    version = services().get_version(path.model, path.reference)
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    answers = TestPredictions.from_bytes(read_evaluation_file(services().artifacts, version, ANSWERS_FILE))
    classes = version.manifest["classes"]
    rows = select_mistakes(answers, classes, query)
    start = page.after[0] if page.after is not None else 0
    mistakes = [
        Mistake(
            index=int(row),
            true=classes[answers.true[row]],
            predicted=classes[answers.predicted[row]],
            probability=float(answers.probability[row]),
        )
        for row in rows[start : start + page.limit]
    ]
    # An evaluation never changes, so the position in the list can be the key of the cursor.
    keys: list[Key] = [(start + offset,) for offset in range(1, len(mistakes) + 1)]
    return to_response(MistakeList(mistakes=mistakes, next=make_next_cursor(page, keys)))


@bp.get("/evaluation/rows", responses={200: EvaluationRowList, **FAILURES})
@needs(Scope.READ)
@parse_request
def list_evaluation_rows(path: VersionPath, query: RowsQuery) -> Response:
    """List the test rows with their predictions: those of a cell of the confusion matrix, for example."""
    version = services().get_version(path.model, path.reference)
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    answers = TestPredictions.from_bytes(read_evaluation_file(services().artifacts, version, ANSWERS_FILE))
    chosen = select_rows(answers, version.manifest["classes"], query)
    start = page.after[0] if page.after is not None else 0
    listed = chosen[start : start + page.limit].tolist()
    rows = describe_rows(version, answers, services().read_kept_rows(version), listed)
    keys: list[Key] = [(start + offset,) for offset in range(1, len(rows) + 1)]
    return to_response(EvaluationRowList(rows=rows, total=len(chosen), next=make_next_cursor(page, keys)))


@bp.get("/evaluation/calibration", responses={200: Calibration, **FAILURES})
@needs(Scope.READ)
@parse_request
def show_calibration(path: VersionPath) -> Response:
    """Show how often predictions of a probability are right."""
    version = services().get_version(path.model, path.reference)
    artifacts = services().artifacts
    answers = TestPredictions.from_bytes(read_evaluation_file(artifacts, version, ANSWERS_FILE))
    evaluation = Evaluation.model_validate_json(read_evaluation_file(artifacts, version, EVALUATION_FILE))
    assert evaluation.classification is not None  # noqa: S101 - a version with ANSWERS_FILE predicts classes
    bins = answers.list_calibration_bins()
    return to_response(Calibration(bins=bins, calibration_error=evaluation.classification.calibration_error))


@bp.get(
    "/evaluation/rows/<int:index>.png",
    responses={
        200: describe_bytes("image/png", "The image as the network got it, before it was normalised."),
        **describe_problems(ModelNotFound, VersionNotFound, EvaluationNotFound, FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def draw_test_image(path: TilePath, query: TileQuery) -> Response:
    """Show the image of a test row."""
    version = services().get_version(path.model, path.reference)
    digest = get_evaluation_file(version, IMAGES_FILE).sha256
    stored = services().read_test_images(version)
    position = int(np.searchsorted(stored.rows, path.index))
    if position == len(stored.rows) or stored.rows[position] != path.index:
        raise FileNotFound(
            f"Version {version.reference} of {version.model!r} keeps no image of test row {path.index}. It keeps "
            f"{len(stored.rows)} of them: `GET …/evaluation/rows` names those."
        )
    response = Response(encode_tile(stored.images[position], query.side), content_type="image/png")
    response.set_etag(f"{digest}-{path.index}-{query.side}")
    is_fixed = path.reference.isdecimal()  # the number of a version is never given again, and an alias moves
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_fixed else "no-cache"
    response.make_conditional(request)
    return response
