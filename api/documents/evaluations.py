"""Define the documents about evaluations."""

from collections.abc import Sequence

from pydantic import Field

from api.documents.base import Document
from shared.registry.evaluation import CalibrationBin, TestPredictions


class Mistake(Document):
    """A misclassified test row. `index` is its position in the test part, from 0."""

    index: int
    true: str
    predicted: str
    probability: float = Field(description="The probability of the predicted class.")


class MistakeList(Document):
    """A page of misclassified test rows. `next` is the cursor of the next page; null if no page follows."""

    mistakes: list[Mistake]
    next: str | None


class EvaluationRow(Mistake):
    """A test row with its prediction. `index` is its position in the test part, from 0."""

    right: bool
    image: str | None = Field(
        description="The path of its image; null if none is kept. Kept are the first rows, the mistakes that fit into "
        "16 MiB, and the most doubtful rows of each class that are right."
    )


class EvaluationRowList(Document):
    """A page of test rows, of `total` that match. `next` is the cursor of the next page; null if no page follows."""

    rows: list[EvaluationRow]
    total: int
    next: str | None


class Calibration(Document):
    """How often the predictions of a probability are right, in bins of equal width.

    Source: Guo et al., 2017, arXiv:1706.04599.
    """

    bins: list[CalibrationBin]
    calibration_error: float = Field(description="Σ over bins of (share of rows) × |accuracy - confidence|.")


def describe_row(answers: TestPredictions, classes: Sequence[str], row: int, image: str | None) -> EvaluationRow:
    """Return the document of the test row at position `row`, whose image has the path `image`."""
    return EvaluationRow(
        index=row,
        true=classes[answers.true[row]],
        predicted=classes[answers.predicted[row]],
        probability=float(answers.probability[row]),
        right=bool(answers.true[row] == answers.predicted[row]),
        image=image,
    )
