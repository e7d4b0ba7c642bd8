"""Define the evaluation of a version on the test part. The worker writes its files, the API reads them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.database.tables.registry import Version, VersionFile
from shared.datasets.encodings import ColumnEncoding, decode_cells
from shared.datasets.row_files import TextRows
from shared.errors import EvaluationNotFound
from shared.registry.baselines import BASELINES_FILE
from shared.storage.artifacts import ArtifactStore

EVALUATION_FILE = "evaluation.json"
IMAGES_FILE = "test_images.npz"
ANSWERS_FILE = "test_answers.npz"
ROWS_FILE = "test_rows.npz"
TEXTS_FILE = "test_texts.npz"
MAX_DENSE_CLASSES = 200
MAX_SAMPLE_ROWS = 200
"""The most rows of a test part whose images are kept as a sample of all."""
CALIBRATION_BINS = 15
_MISSING = {
    BASELINES_FILE: "no baselines: POST to `baselines` of the version computes them",
    EVALUATION_FILE: "no evaluation: it was trained without test rows. Train again with `dataset.test` in the spec",
    ANSWERS_FILE: "no list of misclassified rows: it was trained without test rows, or predicts no classes",
    IMAGES_FILE: "no pictures of test rows: it was trained without test rows or images, or predicts no classes",
    ROWS_FILE: "no test rows: it was trained without test rows, on images or by an earlier release, or predicts no "
    "classes",
    TEXTS_FILE: "no test texts: it was trained without test rows or texts, or predicts no classes",
}
"""What a version lacks if it has no such file, and why."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassReport(_Value):
    """The results of one class. `support` is its number of test rows; a ratio with denominator 0 is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class ClassificationReport(_Value):
    """The results of a classifier.

    `confusion[i][j]` counts the rows of class i that were predicted as class j. With more than MAX_DENSE_CLASSES
    classes it is None, and `confusion_cells` are the counts that are not 0, each as [i, j, count].
    """

    accuracy: float
    top_k: Annotated[
        dict[str, float], Field(description="The share of rows whose class is among the k most probable ones, by k")
    ]
    calibration_error: Annotated[
        float,
        Field(description="Expected calibration error in 15 equal bins: Guo et al., 2017, arXiv:1706.04599"),
    ]
    mistakes: int
    classes: list[ClassReport]
    confusion: list[list[int]] | None = None
    confusion_cells: list[tuple[int, int, int]] | None = None

    def select_confusion(self, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the `limit` classes with the most misclassified rows, and their confusion matrix.

        The indices (k,) are in ascending order, and the matrix is (k, k): true classes, predicted classes.
        """
        if self.confusion is not None:
            matrix = np.asarray(self.confusion, np.int64)
            true, predicted = np.nonzero(matrix)
            counts = matrix[true, predicted]
        else:
            true, predicted, counts = np.asarray(self.confusion_cells, np.int64).reshape(-1, 3).T
        wrong = np.where(true == predicted, 0, counts)
        number = len(self.classes)
        confused = np.bincount(true, wrong, number) + np.bincount(predicted, wrong, number)
        selected = np.sort(np.argsort(-confused, kind="stable")[:limit])
        positions = np.full(number, -1)
        positions[selected] = np.arange(len(selected))
        is_selected = (positions[true] >= 0) & (positions[predicted] >= 0)
        found = np.zeros((len(selected), len(selected)), np.int64)
        found[positions[true[is_selected]], positions[predicted[is_selected]]] = counts[is_selected]
        return selected, found


class LabelsReport(_Value):
    """The results for rows that can have several labels. A label is predicted from a probability of 0.5 on.

    `exact` is the share of rows whose labels are all right, and `accuracy` the share of right answers over all rows
    and labels. In `labels`, `support` is the number of test rows that have the label.
    """

    exact: float
    accuracy: float
    labels: list[ClassReport]


class RegressionReport(_Value):
    """The errors of a regression, averaged over the outputs. `r2` is that of scikit-learn, None for a single row."""

    mae: float
    mse: float
    r2: float | None


class Evaluation(_Value):
    """The results on the test part. `metrics` are those of the spec and the loss; all reports but one are None."""

    rows: int
    metrics: dict[str, float | None]
    classification: ClassificationReport | None = None
    labels: LabelsReport | None = None
    regression: RegressionReport | None = None


class CalibrationBin(_Value):
    """The rows whose probability lies in an interval. `accuracy` is the share of them that are right."""

    from_: Annotated[float, Field(alias="from", description="The interval, without its lower end except 0.")]
    to: float
    rows: int
    confidence: Annotated[float | None, Field(description="The mean probability; null without rows.")]
    accuracy: Annotated[float | None, Field(description="Null without rows.")]


class _StoredArrays:
    """Arrays that a version stores in a compressed npz, by the names of the fields of a dataclass."""

    def to_bytes(self) -> bytes:
        """Write the arrays to a compressed npz."""
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **vars(self))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the npz that `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return cls(**dict(archive))


@dataclass(frozen=True)
class TestPredictions(_StoredArrays):
    """The predictions for the test part of a classifier.

    Attributes:
        true: the class index of each row, (n,) int32.
        predicted: the most probable class index, (n,) int32.
        probability: the probability of the predicted class, (n,) float32.
    """

    true: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probability: NDArray[np.float32]

    def find_rows(
        self, true: int | None = None, predicted: int | None = None, *, right: bool | None = None
    ) -> NDArray[np.int64]:
        """Find rows by their true and predicted class indices, in ascending order. None does not restrict them."""
        chosen = np.ones(len(self.true), bool)
        if true is not None:
            chosen &= self.true == true
        if predicted is not None:
            chosen &= self.predicted == predicted
        if right is not None:
            chosen &= (self.true == self.predicted) == right
        return np.flatnonzero(chosen)

    def sort_by_confidence(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sort rows by the probability of the predicted class, the highest first."""
        ordered: NDArray[np.int64] = rows[np.argsort(-self.probability[rows], kind="stable")]
        return ordered

    def list_calibration_bins(self) -> list[CalibrationBin]:
        """Divide the rows into CALIBRATION_BINS intervals of their probability, as the calibration error does."""
        bins = choose_calibration_bins(self.probability)
        rows = np.bincount(bins, minlength=CALIBRATION_BINS)
        confidence = np.bincount(bins, self.probability, CALIBRATION_BINS)
        right = np.bincount(bins, self.true == self.predicted, CALIBRATION_BINS)
        return [
            CalibrationBin.model_validate(
                {
                    "from": place / CALIBRATION_BINS,
                    "to": (place + 1) / CALIBRATION_BINS,
                    "rows": int(count),
                    "confidence": float(confidence[place] / count) if count else None,
                    "accuracy": float(right[place] / count) if count else None,
                }
            )
            for place, count in enumerate(rows)
        ]


@dataclass(frozen=True)
class TestImages(_StoredArrays):
    """Images of some rows of the test part, preprocessed but not normalised.

    Attributes:
        rows: their row numbers in the test part, (n,) int64.
        images: (n, height, width, channels) uint8.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]


@dataclass(frozen=True)
class TestRows(_StoredArrays):
    """The numbers of some rows of the test part of a table, encoded but not normalised.

    Attributes:
        rows: their row numbers in the test part, (n,) int64, ascending.
        values: (n, width) float32.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]

    def read(self, row: int, encodings: Sequence[ColumnEncoding]) -> list[float | str] | None:
        """Return the cells of a test row as they were sent; None if the row is not kept."""
        position = int(np.searchsorted(self.rows, row))
        if position == len(self.rows) or self.rows[position] != row:
            return None
        return decode_cells(self.values[position], encodings)


@dataclass(frozen=True)
class TestTexts(_StoredArrays):
    """Some texts of the test part, of long ones the beginning.

    Attributes:
        rows: their row numbers in the test part, (n,) int64, ascending.
        content: the texts in UTF-8, one after another, (bytes,) uint8.
        offsets: the first byte of each text, and the end of the last, (n + 1,) int64.
    """

    rows: NDArray[np.int64]
    content: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def read(self, row: int) -> str | None:
        """Return the text of a test row; None if it is not kept."""
        position = int(np.searchsorted(self.rows, row))
        if position == len(self.rows) or self.rows[position] != row:
            return None
        return TextRows(self.content, self.offsets).read_text(position)


def choose_sample_rows(count: int) -> NDArray[np.int64]:
    """Choose at most MAX_SAMPLE_ROWS of `count` test rows at equal distances: those are as often right as all rows."""
    return np.linspace(0, max(count - 1, 0), min(count, MAX_SAMPLE_ROWS)).astype(np.int64)


def choose_calibration_bins(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each row, (n,), by its probability (n,) from 0 to 1."""
    return np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def get_evaluation_file(version: Version, name: str) -> VersionFile:
    """Get a file of an evaluation. Raises EvaluationNotFound."""
    for file in version.files:
        if file.name == name:
            return file
    raise EvaluationNotFound(f"Version {version.reference} of {version.model!r} has {_MISSING[name]}.")


def read_evaluation_file(artifacts: ArtifactStore, version: Version, name: str) -> bytes:
    """Read a file of an evaluation. Raises EvaluationNotFound or ArtifactDamaged."""
    return artifacts.read(get_evaluation_file(version, name).sha256)
