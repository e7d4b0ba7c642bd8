"""Filter and sort the misclassified test rows of a version."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from shared.errors import Fault, InvalidRequest
from shared.registry.evaluation import TestPredictions


class MistakeOrder(StrEnum):
    """Order of misclassified test rows.

    `confidence`: the highest probability first. `index`: in the order of the test part.
    """

    CONFIDENCE = "confidence"
    INDEX = "index"


class MistakesFilter(BaseModel):
    """Query parameters that filter and sort misclassified test rows."""

    true: str | None = Field(default=None, description="Only rows of this class.", max_length=200)
    predicted: str | None = Field(default=None, description="Only rows predicted as this class.", max_length=200)
    sort: MistakeOrder = Field(
        default=MistakeOrder.CONFIDENCE,
        description="`confidence`: the highest probability first. `index`: in the order of the test part.",
    )


def select_mistakes(answers: TestPredictions, classes: list[str], filters: MistakesFilter) -> NDArray[np.int64]:
    """Return the indices of the misclassified test rows, (n,) int64, filtered and sorted as `filters` says.

    Raises InvalidRequest for an unknown class.
    """
    rows = answers.find_rows(
        _find_class(classes, filters.true, "true"), _find_class(classes, filters.predicted, "predicted"), right=False
    )
    return answers.sort_by_confidence(rows) if filters.sort is MistakeOrder.CONFIDENCE else rows


class RowOrder(StrEnum):
    """Order of test rows: by probability, the highest or the lowest first, or in the order of the test part."""

    CONFIDENCE = "confidence"
    DOUBT = "doubt"
    INDEX = "index"


class RowsFilter(BaseModel):
    """Query parameters that filter and sort test rows."""

    true: str | None = Field(default=None, description="Only rows of this class.", max_length=200)
    predicted: str | None = Field(default=None, description="Only rows predicted as this class.", max_length=200)
    right: bool | None = Field(default=None, description="Only rows that are predicted right, or only mistakes.")
    sort: RowOrder = Field(
        default=RowOrder.INDEX,
        description="`confidence`: the highest probability first. `doubt`: the lowest first. `index`: in the order of "
        "the test part.",
    )


def select_rows(answers: TestPredictions, classes: list[str], filters: RowsFilter) -> NDArray[np.int64]:
    """Return the indices of test rows, (n,) int64, filtered and sorted. Raises InvalidRequest for an unknown class."""
    true, predicted = _find_class(classes, filters.true, "true"), _find_class(classes, filters.predicted, "predicted")
    rows = answers.find_rows(true, predicted, right=filters.right)
    if filters.sort is RowOrder.INDEX:
        return rows
    ordered = answers.sort_by_confidence(rows)
    return ordered if filters.sort is RowOrder.CONFIDENCE else ordered[::-1]


def _find_class(classes: list[str], label: str | None, key: str) -> int | None:
    if label is None:
        return None
    if label not in classes:
        detail = f"Unknown class {label!r}. The classes are {', '.join(classes)}."
        raise InvalidRequest("The request is invalid.", (Fault(f"#/{key}", detail, "query"),))
    return classes.index(label)
