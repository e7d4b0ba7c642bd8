"""Show how well a version predicts the test part of its data."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.documents.evaluations import Mistake, MistakeList
from api.http.mistakes import MistakesFilter, select_mistakes
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.paths import VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.database.pagination import Key
from shared.errors import (
    ArtifactDamaged,
    EvaluationNotFound,
    ModelNotFound,
    VersionNotFound,
)
from shared.registry.evaluation import ANSWERS_FILE, EVALUATION_FILE, Evaluation, TestPredictions, read_evaluation_file

FAILURES = describe_problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged)

bp = APIBlueprint(
    "evaluations", __name__, url_prefix="/api/v1/models/<model>/versions/<reference>", abp_tags=[Tag(name="Evaluation")]
)


class MistakesQuery(PageQuery, MistakesFilter):
    pass


@bp.get("/evaluation", responses={200: Evaluation, **FAILURES})
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
