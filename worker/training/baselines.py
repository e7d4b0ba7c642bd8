"""Compute simple models of scikit-learn on the data of a version."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, mean_absolute_error
from sklearn.model_selection import KFold, StratifiedKFold

from shared.datasets.splits import Dataset
from shared.preprocessing.text import TextContract
from shared.registry.baselines import BASELINES_FILE, Baseline, Baselines, CrossValidation
from shared.registry.manifest import ManifestFile
from worker.context import WorkerContext
from worker.training.input.version_data import VersionData, prepare_version_data

logger = logging.getLogger(__name__)

FOLDS = 5
SEED = 42
MAX_BYTES = 2**29
"""The most bytes of training rows as float32; of more rows, some are left out."""
MAX_TEST_ROWS = 10_000
MAX_LOGISTIC_NUMBERS = 4_000_000
"""The logistic regression learns from fewer rows if they have more numbers: it looks at all of them many times."""
MAX_LINEAR_COLUMNS = 2_000
"""With more columns, a linear regression takes too long, and fits any training rows."""
EPOCHS, ITERATIONS = 5, 100


def write_baselines(
    context: WorkerContext, manifest: ManifestFile, dataset: Dataset, check: Callable[[], None], folder: Path
) -> list[Path]:
    """Compute the baselines of a version on its data set, and write them to `folder`.

    Returns the path of the file; no path for rows with several labels. `check` is called between the trainings, and may
    raise. Raises DatasetUnavailable.
    """
    row_bytes = 4 * int(np.prod(manifest.preprocessing.input_shape))
    data = prepare_version_data(
        context, manifest, dataset, check, max_train=max(1, MAX_BYTES // row_bytes), max_test=MAX_TEST_ROWS
    )
    if data.objective.labels:
        return []
    path = folder / BASELINES_FILE
    path.write_text(compute_baselines(data, manifest, check).model_dump_json())
    return [path]


def compute_baselines(data: VersionData, manifest: ManifestFile, check: Callable[[], None]) -> Baselines:
    """Compute the baselines: of classes, the most frequent class and two linear models; of numbers, two more.

    Linear models of texts see how often each word occurs in the sequence that the network sees.
    """
    objective = data.objective
    contract = manifest.preprocessing
    if isinstance(contract, TextContract):
        train, test = (_count_words(part, contract) for part in (data.train, data.test))
    else:
        width = int(np.prod(data.train.shape[1:]))
        train, test = (part.reshape(len(part), width) for part in (data.train, data.test))
    if objective.classes:
        labels = [objective.to_class_indices(part) for part in (data.train_labels, data.test_labels)]
        metric: Any = "accuracy"
        models = [
            ("majority_class", DummyClassifier(strategy="most_frequent"), None),
            ("sgd_classifier", _make_sgd(), None),
            ("logistic_regression", LogisticRegression(max_iter=ITERATIONS), MAX_LOGISTIC_NUMBERS),
        ]
    else:
        labels = [objective.encode_labels(part) for part in (data.train_labels, data.test_labels)]
        metric = "mean_absolute_error"
        models = [("mean", DummyRegressor(strategy="mean"), None)]
        if train.shape[1] <= MAX_LINEAR_COLUMNS:
            models.append(("linear_regression", LinearRegression(), None))
    found = []
    for name, model, max_numbers in models:
        rows = _choose_rows(train, max_numbers)
        dtype = np.float64 if isinstance(model, SGDClassifier) else np.float32  # its steps are small: as in a notebook
        x = train[rows].astype(dtype, copy=False)
        found.append(
            _measure(name, model, x, labels[0][rows], test.astype(dtype, copy=False), labels[1], metric, check)
        )
    own = (manifest.metrics.test or {}).get(metric)
    return Baselines(metric=metric, version=own, test_rows=len(data.test), baselines=found)


def _count_words(sequences: NDArray[np.float32], contract: TextContract) -> Any:  # noqa: ANN401 - SciPy is untyped
    """Count the words of sequences, (n, length). Returns a sparse matrix (n, size) float32 without padding."""
    rows, places = np.nonzero(sequences)
    words = sequences[rows, places].astype(np.int64)
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, words)), (len(sequences), contract.size))
    counts.sum_duplicates()
    return counts


def _make_sgd() -> SGDClassifier:
    """Make a logistic regression that is learned by stochastic gradient descent, in a few epochs."""
    return SGDClassifier(loss="log_loss", max_iter=EPOCHS, random_state=SEED, n_jobs=os.cpu_count())


def _choose_rows(train: Any, max_numbers: int | None) -> NDArray[np.int64]:  # noqa: ANN401 - an array or a matrix
    """Choose rows at equal distances, so that they have at most `max_numbers` numbers; None for all rows.

    Of a sparse matrix, only the numbers that are stored count.
    """
    total = train.shape[0]
    width = max(1, train.nnz // max(1, total)) if issparse(train) else train.shape[1]
    count = total if max_numbers is None else min(total, max(1, max_numbers // width))
    return np.linspace(0, total - 1, count).astype(np.int64)


def _measure(
    name: Any,  # noqa: ANN401 - one of the names of Baseline
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    x: NDArray[Any],
    y: NDArray[Any],
    test_x: NDArray[Any],
    test_y: NDArray[Any],
    metric: str,
    check: Callable[[], None],
) -> Baseline:
    began = time.monotonic()
    learns = not isinstance(model, DummyClassifier | DummyRegressor)
    with _without_warnings():
        if metric == "accuracy" and len(np.unique(y)) < 2:  # noqa: PLR2004 - nothing to tell apart
            model = DummyClassifier(strategy="most_frequent")
        fitted = clone(model).fit(x, y)
        check()
        test = _score(fitted, test_x, test_y, metric) if test_x.shape[0] else None
        folds = [_score(clone(model).fit(x[a], y[a]), x[b], y[b], metric) for a, b in _split(x, y, metric, check)]
    logger.info("baseline %s: %s on the test part, after %.1f s", name, test, time.monotonic() - began)
    return Baseline(
        name=name,
        test=test,
        cross_validation=CrossValidation(folds=folds, mean=float(np.mean(folds)), deviation=float(np.std(folds)))
        if learns and folds
        else None,
        rows=x.shape[0],
        seconds=round(time.monotonic() - began, 2),
    )


def _split(
    x: NDArray[Any], y: NDArray[Any], metric: str, check: Callable[[], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows to learn from and those to measure on, for each fold. Yields nothing for too few rows."""
    fewest = int(np.unique(y, return_counts=True)[1].min()) if metric == "accuracy" else x.shape[0]
    if fewest < FOLDS:
        return
    splitter = StratifiedKFold(FOLDS) if metric == "accuracy" else KFold(FOLDS, shuffle=True, random_state=SEED)
    for learned, measured in splitter.split(x, y if metric == "accuracy" else None):
        check()
        yield learned, measured


def _score(model: Any, x: NDArray[Any], y: NDArray[Any], metric: str) -> float:  # noqa: ANN401
    answers = model.predict(x)
    if metric == "accuracy":
        return float(accuracy_score(y, answers))
    return float(mean_absolute_error(y, answers.reshape(y.shape)))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide that a model has not converged, inside a `with` block: it is a baseline after a fixed effort."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
