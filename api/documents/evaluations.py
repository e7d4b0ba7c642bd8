"""Define the documents about evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flask import url_for
from pydantic import Field

from api.documents.base import Document
from shared.database.tables.registry import Version
from shared.preprocessing.contract import NumbersContract
from shared.registry.evaluation import CalibrationBin, TestPredictions, TestRows, TestTexts
from shared.registry.manifest import VersionManifest


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
    values: list[float | str] | None = Field(
        description="The cells of the row of a table, in the order of the columns; null for images, and if the row is "
        "not kept. Kept are the same rows as for images."
    )
    text: str | None = Field(
        description="The first 1,000 characters of the text; null for other data, and if the row is not kept."
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


@dataclass(frozen=True)
class KeptRows:
    """The test rows that a version keeps: as images, as rows of a table, or as texts."""

    images: frozenset[int]
    table: TestRows | None
    texts: TestTexts | None

    def list_rows(self) -> list[int]:
        """Return the positions of all kept rows in the test part, ascending."""
        if self.images:
            return sorted(self.images)
        kept = self.table if self.table is not None else self.texts
        return kept.rows.tolist() if kept is not None else []


def describe_rows(
    version: Version, answers: TestPredictions, kept: KeptRows, rows: Sequence[int]
) -> list[EvaluationRow]:
    """Return the documents of the test rows at these positions."""
    manifest = VersionManifest.model_validate(version.manifest)
    encodings = manifest.preprocessing.columns if isinstance(manifest.preprocessing, NumbersContract) else ()
    classes = manifest.classes
    address = partial(url_for, "evaluations.draw_test_image", model=version.model, reference=version.reference)
    return [
        EvaluationRow(
            index=row,
            true=classes[answers.true[row]],
            predicted=classes[answers.predicted[row]],
            probability=float(answers.probability[row]),
            right=bool(answers.true[row] == answers.predicted[row]),
            image=address(index=row) if row in kept.images else None,
            values=kept.table.read(row, encodings) if kept.table is not None else None,
            text=kept.texts.read(row) if kept.texts is not None else None,
        )
        for row in rows
    ]
