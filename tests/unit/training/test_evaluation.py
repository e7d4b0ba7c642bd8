import numpy as np
import pytest

from worker.training.evaluation import compute_calibration_error, compute_confidence_threshold


def test_confidence_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    right = np.array([True] * 8 + [False] * 2)

    assert compute_calibration_error(right, np.full(10, 0.8, np.float32)) == pytest.approx(0, abs=1e-6)


def test_the_gaps_of_the_bins_add_up_by_their_rows() -> None:
    """Half of the rows say 0.9 and are always right, half say 0.5 and never are."""
    right = np.array([True, True, False, False])
    confidence = np.array([0.9, 0.9, 0.5, 0.5], np.float32)

    assert compute_calibration_error(right, confidence) == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)


def test_certainty_belongs_to_the_last_bin() -> None:
    assert compute_calibration_error(np.array([True]), np.array([1.0], np.float32)) == 0


def test_below_the_threshold_at_least_half_is_wrong() -> None:
    """Of the rows below 0.6 half are right, and below 0.7 already more."""
    confidence = np.linspace(0.31, 0.89, 59).astype(np.float32)
    right = (confidence > 0.595) | (np.arange(59) % 2 == 1)

    threshold = compute_confidence_threshold(right[::-1], confidence[::-1])

    assert threshold == pytest.approx(0.6, abs=0.015)
    assert threshold is not None
    assert right[confidence < threshold].mean() <= 0.5


@pytest.mark.parametrize("wrong", [0, 3])
def test_there_is_no_threshold_where_few_are_wrong(wrong: int) -> None:
    right = np.arange(100) >= wrong

    assert compute_confidence_threshold(right, np.linspace(0.2, 1, 100).astype(np.float32)) is None


def test_a_network_that_guesses_is_never_sure_enough() -> None:
    assert compute_confidence_threshold(np.arange(40) % 4 == 0, np.linspace(0.2, 0.9, 40).astype(np.float32)) == 1
