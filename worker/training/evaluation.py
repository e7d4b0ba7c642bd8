"""Evaluate a trained network on the test part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    confusion_matrix,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
    top_k_accuracy_score,
)

from shared.datasets.row_files import MappedRows, TextRows
from shared.inference.predictions import LABEL_THRESHOLD
from shared.networks.objectives import Objective
from shared.registry.evaluation import (
    ANSWERS_FILE,
    CALIBRATION_BINS,
    EVALUATION_FILE,
    IMAGES_FILE,
    MAX_DENSE_CLASSES,
    ROWS_FILE,
    TEXTS_FILE,
    ClassificationReport,
    ClassReport,
    Evaluation,
    LabelsReport,
    RegressionReport,
    TestImages,
    TestPredictions,
    TestRows,
    TestTexts,
    choose_calibration_bins,
    choose_sample_rows,
)

TOP_K = (3, 5)
ONE_SIDED_95 = 1.645
"""A normal variable exceeds its mean by so many standard deviations with a probability of 5 %."""
MAX_BINS = 20
MIN_BIN_ROWS = 30
"""Limits on the bins of the confidence threshold: their number, and the rows of each."""
TABLE_RANK, IMAGE_RANK = 2, 4
MAX_FIRST_ROWS = 32
MAX_MISTAKE_BYTES = 16 * 2**20
"""Uncompressed size of the stored images or rows that are mistakes."""
MAX_RIGHT_PER_CLASS = 12
MAX_RIGHT_BYTES = 4 * 2**20
MAX_SHOWN_CHARACTERS = 1000
TEXT_BYTES = 3 * MAX_SHOWN_CHARACTERS
"""The size of the beginning of a text that is kept: a syllable of Korean has three bytes."""
MAX_SAMPLE_BYTES = 4 * 2**20
"""Limits on the stored images or rows that are predicted right, and on those of the sample."""


def write_evaluation(
    objective: Objective,
    y: NDArray[Any],
    outputs: NDArray[np.float32],
    metrics: Mapping[str, float | None],
    inputs: NDArray[Any] | MappedRows | TextRows,
    folder: Path,
) -> list[Path]:
    """Write the evaluation of the test part to `folder`, and return the paths of the files.

    There is one file, the report. A classification also has the predictions, and some test images or test rows.

    Args:
        y: the labels of the test part, (n,) int64 or (n, k) float32.
        outputs: the outputs of the network, (n, width) float32.
        inputs: the test part before normalisation, (n, height, width, channels) uint8 or (n, *shape) float32, or its
            texts.
    """
    path = folder / EVALUATION_FILE
    path.write_text(make_report(objective, y, outputs, metrics).model_dump_json())
    if not objective.classes:
        return [path]
    true, probabilities = objective.to_class_indices(y), _to_probabilities(objective, outputs)
    predicted = probabilities.argmax(axis=1)
    answers = TestPredictions(true.astype(np.int32), predicted.astype(np.int32), probabilities.max(axis=1))
    answers_path = folder / ANSWERS_FILE
    answers_path.write_bytes(answers.to_bytes())
    paths = [path, answers_path]
    if isinstance(inputs, TextRows):
        return [*paths, _write_texts(_select_rows(answers, TEXT_BYTES), inputs, folder)]
    rows = _select_rows(answers, int(np.prod(inputs.shape[1:])) * inputs.dtype.itemsize)
    kept = inputs.read(rows) if isinstance(inputs, MappedRows) else inputs[rows]
    if kept.dtype == np.uint8 and kept.ndim == IMAGE_RANK:
        paths.append(folder / IMAGES_FILE)
        paths[-1].write_bytes(TestImages(rows, kept).to_bytes())
    elif kept.ndim == TABLE_RANK:
        paths.append(folder / ROWS_FILE)
        paths[-1].write_bytes(TestRows(rows, kept.astype(np.float32)).to_bytes())
    return paths


def make_report(
    objective: Objective, y: NDArray[Any], outputs: NDArray[np.float32], metrics: Mapping[str, float | None]
) -> Evaluation:
    """Compare the labels `y`, (n,) int64 or (n, k) float32, with the outputs (n, width) float32."""
    if objective.labels:
        found = _report_labels(objective.encode_labels(y), outputs, objective.labels)
        return Evaluation(rows=len(y), metrics=dict(metrics), labels=found)
    if not objective.classes:
        errors = _report_regression(objective.encode_labels(y), outputs)
        return Evaluation(rows=len(y), metrics=dict(metrics), regression=errors)
    true, probabilities = objective.to_class_indices(y), _to_probabilities(objective, outputs)
    report = _report_classification(true, probabilities.argmax(axis=1), probabilities, objective.classes)
    return Evaluation(rows=len(y), metrics=dict(metrics), classification=report)


def _write_texts(rows: NDArray[np.int64], texts: TextRows, folder: Path) -> Path:
    """Write some of the texts, of long ones the beginning."""
    kept = TextRows.from_texts(text[:MAX_SHOWN_CHARACTERS] for text in texts.select(rows))
    path = folder / TEXTS_FILE
    path.write_bytes(TestTexts(rows, kept.content, kept.offsets).to_bytes())
    return path


def _select_rows(answers: TestPredictions, row_bytes: int) -> NDArray[np.int64]:
    """Select the first test rows, a sample, the surest mistakes, and of each class the right answers in most doubt.

    `row_bytes` is the size of a row.
    """
    total = len(answers.true)
    first = np.arange(min(MAX_FIRST_ROWS, total))
    mistakes = answers.sort_by_confidence(answers.find_rows(right=False))[: MAX_MISTAKE_BYTES // row_bytes]
    doubtful = _list_doubtful(answers)[: MAX_RIGHT_BYTES // row_bytes]
    sample = choose_sample_rows(total)
    if len(sample) * row_bytes > MAX_SAMPLE_BYTES:
        sample = sample[:0]
    return np.unique(np.concatenate([first, mistakes, doubtful, sample]))


def _list_doubtful(answers: TestPredictions) -> NDArray[np.int64]:
    """List MAX_RIGHT_PER_CLASS rows of each class that are predicted right with the lowest probability.

    The most doubtful row of every class comes first, then the second one of every class, and so on.
    """
    right = answers.sort_by_confidence(answers.find_rows(right=True))[::-1]
    by_class = right[np.argsort(answers.true[right], kind="stable")]
    _, starts, counts = np.unique(answers.true[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(by_class)) - np.repeat(starts, counts)
    chosen = rank < MAX_RIGHT_PER_CLASS
    return by_class[chosen][np.argsort(rank[chosen], kind="stable")]


def compute_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float32]) -> float:
    """Compute the expected calibration error: Σ over bins of (share of rows) × |accuracy - mean confidence|.

    The bins have equal width. Source: Guo et al., 2017, arXiv:1706.04599.

    Args:
        right: (n,), whether each prediction is correct.
        confidence: (n,), the probability of each predicted class, from 0 to 1.
    """
    bins = choose_calibration_bins(confidence)
    gaps = np.bincount(bins, right.astype(np.float64) - confidence, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(right))


def compute_confidence_threshold(right: NDArray[np.bool_], confidence: NDArray[np.float32]) -> float | None:
    """Compute the probability below which predictions are wrong more often than right.

    The rows are sorted by probability, and divided into at most MAX_BINS bins of equal size, of at least MIN_BIN_ROWS
    rows. The threshold is the end of the last bin up to which every bin is wrong more often than right, and all rows
    together with a confidence of 95 %, so that it also holds for other rows.

    `right` and `confidence` are (n,), as in `compute_calibration_error`. Returns None if there is no such bin.
    """
    bins = min(MAX_BINS, len(right) // MIN_BIN_ROWS)
    if not bins:
        return None
    order = np.argsort(confidence, kind="stable")
    ends = np.linspace(0, len(order), bins + 1).astype(np.int64)[1:]
    threshold_end = 0
    for part, end in zip(np.split(right[order], ends[:-1]), ends.tolist(), strict=True):
        if 2 * part.sum() >= len(part):
            break
        share = float(right[order[:end]].mean())
        if share + ONE_SIDED_95 * np.sqrt(share * (1 - share) / end) < 1 / 2:
            threshold_end = end
    if not threshold_end:
        return None
    return float(confidence[order[threshold_end]]) if threshold_end < len(order) else 1.0


def find_confidence_threshold(objective: Objective, y: NDArray[Any], outputs: NDArray[np.float32]) -> float | None:
    """Compute the confidence threshold from the labels and the outputs (n, width) of held-out rows.

    Returns None for a regression, or if there is no threshold.
    """
    if not objective.classes:
        return None
    probabilities = _to_probabilities(objective, outputs)
    return compute_confidence_threshold(
        probabilities.argmax(axis=1) == objective.to_class_indices(y), probabilities.max(axis=1)
    )


def _to_probabilities(objective: Objective, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities (n, classes). A single output is the probability of the second of two classes."""
    return np.hstack([1 - outputs, outputs]) if objective.width == 1 else outputs


def _report_classification(
    true: NDArray[np.int64], predicted: NDArray[np.int64], probabilities: NDArray[np.float32], classes: tuple[str, ...]
) -> ClassificationReport:
    indices = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted, labels=indices, zero_division=0)
    right = true == predicted
    is_dense = len(classes) <= MAX_DENSE_CLASSES
    return ClassificationReport(
        accuracy=float(right.mean()),
        top_k={
            str(k): float(top_k_accuracy_score(true, probabilities, k=k, labels=indices))
            for k in TOP_K
            if k < len(classes)
        },
        calibration_error=compute_calibration_error(right, probabilities.max(axis=1)),
        mistakes=int((~right).sum()),
        classes=[
            ClassReport(label=label, precision=p, recall=r, f1=f, support=int(s))
            for label, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
        ],
        confusion=confusion_matrix(true, predicted, labels=indices).tolist() if is_dense else None,
        confusion_cells=None if is_dense else _count_cells(true, predicted),
    )


def _count_cells(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, rows) for each pair of classes that occurs."""
    pairs, counts = np.unique(np.stack([true, predicted], axis=1), axis=0, return_counts=True)
    return [(int(i), int(j), int(count)) for (i, j), count in zip(pairs, counts, strict=True)]


def _report_labels(true: NDArray[np.float32], outputs: NDArray[np.float32], labels: tuple[str, ...]) -> LabelsReport:
    predicted = outputs >= LABEL_THRESHOLD
    right = predicted == (true == 1)
    columns = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    return LabelsReport(
        exact=float(right.all(axis=1).mean()),
        accuracy=float(right.mean()),
        labels=[
            ClassReport(label=label, precision=p, recall=r, f1=f, support=int(s))
            for label, p, r, f, s in zip(labels, *columns, strict=True)
        ],
    )


def _report_regression(labels: NDArray[np.float32], outputs: NDArray[np.float32]) -> RegressionReport:
    return RegressionReport(
        mae=float(mean_absolute_error(labels, outputs)),
        mse=float(mean_squared_error(labels, outputs)),
        r2=float(r2_score(labels, outputs)) if len(labels) > 1 else None,
    )
