"""How a version did on the test part: what the worker works out, keeps as files, and the API shows."""

import io
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.database.tables.registry import Version
from shared.registry.versions import get_evaluation_file
from shared.storage.artifacts import ArtifactStore

EVALUATION_FILE = "evaluation.json"
IMAGES_FILE = "test_images.npz"
ANSWERS_FILE = "test_answers.npz"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassReport(_Value):
    """`support` is the number of test rows that are of this class; what nothing can be divided by is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class ClassificationReport(_Value):
    """`confusion[i][j]` counts the rows of class i that were taken for class j."""

    accuracy: float
    top_k: Annotated[dict[str, float], Field(description="The share of rows whose class is among the k likeliest")]
    calibration_error: Annotated[
        float,
        Field(description="Expected calibration error in 15 equal bins: Guo et al., 2017, arXiv:1706.04599"),
    ]
    mistakes: int
    classes: list[ClassReport]
    confusion: list[list[int]]


class RegressionReport(_Value):
    """Over all outputs; r² as scikit-learn has it, None for a single row."""

    mae: float
    mse: float
    r2: float | None


class Evaluation(_Value):
    """`metrics` are those of the spec, with the loss; one of the two reports is there."""

    rows: int
    metrics: dict[str, float | None]
    classification: ClassificationReport | None = None
    regression: RegressionReport | None = None


class TestPredictions:
    """For each test row: its class, the class answered, (n,) int32, and the probability of that, (n,) float32."""

    def __init__(self, true: NDArray[np.int32], predicted: NDArray[np.int32], probability: NDArray[np.float32]) -> None:
        self.true = true
        self.predicted = predicted
        self.probability = probability

    def find_mistakes(self, true: int | None = None, predicted: int | None = None) -> NDArray[np.int64]:
        """The rows answered wrongly, in their order: all, or those of one class, or taken for one."""
        wrong = self.true != self.predicted
        if true is not None:
            wrong &= self.true == true
        if predicted is not None:
            wrong &= self.predicted == predicted
        return np.flatnonzero(wrong)

    def sort_by_confidence(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        ordered: NDArray[np.int64] = rows[np.argsort(-self.probability[rows], kind="stable")]
        return ordered

    def to_bytes(self) -> bytes:
        file = io.BytesIO()
        np.savez_compressed(
            file, allow_pickle=False, true=self.true, predicted=self.predicted, probability=self.probability
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TestPredictions":
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return cls(archive["true"], archive["predicted"], archive["probability"])


@dataclass(frozen=True)
class TestImages:
    """Test rows that can be shown, (n,) int64, and how the network saw them, (n, height, width, channels) uint8."""

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, rows=self.rows, images=self.images)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TestImages":
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return cls(archive["rows"], archive["images"])


def read_evaluation_file(artifacts: ArtifactStore, version: Version, name: str) -> bytes:
    """Read one of the three files of an evaluation. Raises EvaluationNotFound or ArtifactDamaged."""
    return artifacts.read(get_evaluation_file(version, name).sha256)
