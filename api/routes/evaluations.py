"""How a version did on the test part of its data."""

from enum import StrEnum

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from api.documents.base import Mistake, MistakeList
from api.http.pagination import Key, next_cursor, page_of
from api.http.requests import PageQuery, parsed
from api.http.responses import document, problems
from api.routes.models import VersionPath
from api.services import services
from shared.database.tables.jobs import Version
from shared.errors import (
    ArtifactDamaged,
    EvaluationNotFound,
    Fault,
    InvalidRequest,
    ModelNotFound,
    VersionNotFound,
)
from shared.registry import versions
from shared.registry.evaluation import ANSWERS_FILE, EVALUATION_FILE, Evaluation, TestAnswers

FAILURES = problems(ModelNotFound, VersionNotFound, EvaluationNotFound, ArtifactDamaged)

bp = APIBlueprint(
    "evaluations", __name__, url_prefix="/api/v1/models/<model>/versions/<reference>", abp_tags=[Tag(name="Evaluation")]
)


class Order(StrEnum):
    CONFIDENCE = "confidence"
    INDEX = "index"


class MistakesFilter(BaseModel):
    true: str | None = Field(default=None, description="Of this class alone", max_length=200)
    predicted: str | None = Field(default=None, description="Taken for this class alone", max_length=200)
    sort: Order = Field(default=Order.CONFIDENCE, description="The surest first, or in the order of the data")


class MistakesQuery(PageQuery, MistakesFilter):
    pass


@bp.get("/evaluation", responses={200: Evaluation, **FAILURES})
@parsed
def show_evaluation(path: VersionPath) -> Response:
    """On the test part: metrics, and what scikit-learn says of classes, or of the errors of numbers."""
    return document(Evaluation.model_validate_json(read_evaluation_file(find_version(path), EVALUATION_FILE)))


@bp.get("/evaluation/mistakes", responses={200: MistakeList, **FAILURES})
@parsed
def list_mistakes(path: VersionPath, query: MistakesQuery) -> Response:
    """Every test row that was taken for another class."""
    version = find_version(path)
    page = page_of(query.limit, query.cursor, (int,))
    answers = TestAnswers.from_bytes(read_evaluation_file(version, ANSWERS_FILE))
    classes = version.description["classes"]
    rows = find_mistakes(answers, classes, query)
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


def find_mistakes(answers: TestAnswers, classes: list[str], wanted: MistakesFilter) -> NDArray[np.int64]:
    """The rows, in the order that is wanted. Raises InvalidRequest for a class that nobody knows."""
    rows = answers.find_mistakes(
        _place_of_class(classes, wanted.true, "true"), _place_of_class(classes, wanted.predicted, "predicted")
    )
    return answers.surest_first(rows) if wanted.sort is Order.CONFIDENCE else rows


def find_version(path: VersionPath) -> Version:
    """Raises ModelNotFound or VersionNotFound."""
    with services().sessions() as session:
        return versions.get_version(session, path.model, path.reference)


def read_evaluation_file(version: Version, name: str) -> bytes:
    """Raises EvaluationNotFound or ArtifactDamaged."""
    return services().artifacts.read(versions.get_evaluation_file(version, name).sha256)


def _place_of_class(classes: list[str], label: str | None, key: str) -> int | None:
    if label is None:
        return None
    if label not in classes:
        detail = f"There is no class {label!r}; there are {', '.join(classes)}."
        raise InvalidRequest("The mistakes cannot be listed.", (Fault(f"#/{key}", detail),))
    return classes.index(label)
