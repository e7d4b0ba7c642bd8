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


def test_at_least_half_of_the_rows_below_the_threshold_are_wrong() -> None:
    """Half of the rows below 0.6 are right, and more than half of the rows below 0.7."""
    confidence = np.linspace(0.31, 0.89, 59).astype(np.float32)
    right = (confidence > 0.595) | (np.arange(59) % 2 == 1)

    threshold = compute_confidence_threshold(right[::-1], confidence[::-1])

    assert threshold == pytest.approx(0.6, abs=0.015)
    assert threshold is not None
    assert right[confidence < threshold].mean() <= 0.5


@pytest.mark.parametrize("wrong", [0, 3])
def test_the_threshold_is_none_if_few_rows_are_wrong(wrong: int) -> None:
    right = np.arange(100) >= wrong

    assert compute_confidence_threshold(right, np.linspace(0.2, 1, 100).astype(np.float32)) is None


def test_the_threshold_is_1_for_a_network_that_guesses() -> None:
    assert compute_confidence_threshold(np.arange(40) % 4 == 0, np.linspace(0.2, 0.9, 40).astype(np.float32)) == 1
