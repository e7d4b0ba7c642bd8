import numpy as np
import pytest

from worker.training.evaluation import compute_calibration_error, compute_confidence_threshold


def test_calibration_error_is_0_if_confidence_equals_accuracy() -> None:
    right = np.array([True] * 8 + [False] * 2)

    assert compute_calibration_error(right, np.full(10, 0.8, np.float32)) == pytest.approx(0, abs=1e-6)


def test_calibration_error_weights_each_bin_by_its_rows() -> None:
    """Half of the rows have confidence 0.9 and are right; half have confidence 0.5 and are wrong."""
    right = np.array([True, True, False, False])
    confidence = np.array([0.9, 0.9, 0.5, 0.5], np.float32)

    assert compute_calibration_error(right, confidence) == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)


def test_confidence_1_belongs_to_the_last_bin() -> None:
    assert compute_calibration_error(np.array([True]), np.array([1.0], np.float32)) == 0


def make_answers(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each prediction is right, and its probability; below 0.6 less than half of them are right."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.2, 1, rows).astype(np.float32)
    share = np.where(confidence < 0.6, 0.25, 0.9)
    return random.random(rows) < share, confidence


@pytest.mark.parametrize("seed", range(5))
def test_predictions_below_the_threshold_are_mostly_wrong_for_other_rows_too(seed: int) -> None:
    threshold = compute_confidence_threshold(*make_answers(600, seed))
    right, confidence = make_answers(600, seed + 100)

    assert threshold == pytest.approx(0.6, abs=0.04)
    assert right[confidence < threshold].mean() <= 0.5


def test_a_bin_of_mostly_right_rows_ends_the_doubt() -> None:
    """Below 0.6 half of all rows are wrong, but from 0.4 on most are right: only the rows below 0.4 are doubtful."""
    confidence = np.linspace(0.2, 1, 400).astype(np.float32)
    right = np.where(confidence < 0.4, np.arange(400) % 10 == 0, np.arange(400) % 10 > 1)

    assert compute_confidence_threshold(right, confidence) == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("wrong", [0, 20])
def test_the_threshold_is_none_if_fewer_rows_than_a_bin_are_wrong(wrong: int) -> None:
    right = np.arange(1000) >= wrong

    assert compute_confidence_threshold(right, np.linspace(0.2, 1, 1000).astype(np.float32)) is None


def test_the_threshold_is_none_for_few_rows() -> None:
    assert compute_confidence_threshold(np.zeros(29, bool), np.linspace(0.2, 1, 29).astype(np.float32)) is None
    assert compute_confidence_threshold(np.zeros(0, bool), np.zeros(0, np.float32)) is None


def test_the_threshold_is_mostly_none_if_half_of_all_rows_are_right_whatever_the_probability() -> None:
    confidence = np.linspace(0.2, 1, 2000).astype(np.float32)

    thresholds = [
        compute_confidence_threshold(np.random.default_rng(seed).random(2000) < 0.5, confidence) for seed in range(40)
    ]

    assert sum(threshold is not None for threshold in thresholds) <= 6


def test_the_threshold_is_1_for_a_network_that_guesses() -> None:
    assert compute_confidence_threshold(np.arange(80) % 4 == 0, np.linspace(0.2, 0.9, 80).astype(np.float32)) == 1
