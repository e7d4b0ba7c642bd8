"""How a version did on the test part of its data."""

from enum import StrEnum

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from api.answers import document, problems
from api.requests import PageQuery, parsed
from api.routes.models import VersionPath
from api.services import services
from shared import registry
from shared.documents import Mistake, MistakeList
from shared.errors import (
    ArtifactDamaged,
    EvaluationNotFound,
    Fault,
    InvalidRequest,
    ModelNotFound,
    VersionNotFound,
)
from shared.evaluation import ANSWERS_FILE, EVALUATION_FILE, Evaluation, TestAnswers
from shared.pages import Key, next_cursor, page_of
from shared.tables import Version

FAILURES = problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged)

bp = APIBlueprint(
    "evaluations", __name__, url_prefix="/api/v1/models/<model>/versions/<reference>", abp_tags=[Tag(name="Evaluation")]
)


class Order(StrEnum):
    CONFIDENCE = "confidence"
    INDEX = "index"


class MistakesQuery(PageQuery):
    true: str | None = Field(default=None, description="Of this class alone", max_length=200)
    predicted: str | None = Field(default=None, description="Taken for this class alone", max_length=200)
    sort: Order = Field(default=Order.CONFIDENCE, description="The surest first, or in the order of the data")


@bp.get("/evaluation", responses={200: Evaluation, **FAILURES})
@parsed
def show_evaluation(path: VersionPath) -> Response:
    """On the test part: metrics, and what scikit-learn says of classes, or of the errors of numbers."""
    return document(Evaluation.model_validate_json(_read(_find_version(path), EVALUATION_FILE)))


@bp.get("/evaluation/mistakes", responses={200: MistakeList, **FAILURES})
@parsed
def list_mistakes(path: VersionPath, query: MistakesQuery) -> Response:
    """Every test row that was taken for another class."""
    version = _find_version(path)
    page = page_of(query.limit, query.cursor, (int,))
    answers = TestAnswers.from_bytes(_read(version, ANSWERS_FILE))
    classes = version.description["classes"]
    rows = answers.find_mistakes(_place(classes, query.true, "true"), _place(classes, query.predicted, "predicted"))
    if query.sort is Order.CONFIDENCE:
        rows = answers.surest_first(rows)
    start = max(0, int(page.after[0])) if page.after is not None else 0
    mistakes = [
        Mistake(
            index=int(row),
            true=classes[answers.true[row]],
            predicted=classes[answers.predicted[row]],
            probability=float(answers.probability[row]),
        )
        for row in rows[start : start + page.limit]
    ]
    # An evaluation never changes: a place in its list is as good a key as any.
    keys: list[Key] = [(start + place,) for place in range(1, len(mistakes) + 1)]
    return document(MistakeList(mistakes=mistakes, next=next_cursor(page, keys)))


def _find_version(path: VersionPath) -> Version:
    with services().sessions() as session:
        return registry.get_version(session, path.model, path.reference)


def _read(version: Version, name: str) -> bytes:
    return services().artifacts.read(registry.get_evaluation_file(version, name).sha256)


def _place(classes: list[str], label: str | None, key: str) -> int | None:
    if label is None:
        return None
    if label not in classes:
        detail = f"There is no class {label!r}; there are {', '.join(classes)}."
        raise InvalidRequest("The mistakes cannot be listed.", (Fault(f"#/{key}", detail),))
    return classes.index(label)
