import numpy as np
import pytest

from worker.evaluation import calibration_error


def test_confidence_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    right = np.array([True] * 8 + [False] * 2)

    assert calibration_error(right, np.full(10, 0.8, np.float32)) == pytest.approx(0, abs=1e-6)


def test_the_gaps_of_the_bins_add_up_by_their_rows() -> None:
    """Half of the rows say 0.9 and are always right, half say 0.5 and never are."""
    right = np.array([True, True, False, False])
    confidence = np.array([0.9, 0.9, 0.5, 0.5], np.float32)

    assert calibration_error(right, confidence) == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)


def test_certainty_belongs_to_the_last_bin() -> None:
    assert calibration_error(np.array([True]), np.array([1.0], np.float32)) == 0
