"""Test which epochs of a long training a chart shows."""

import numpy as np

from api.documents.thinning import choose_points


def test_few_points_are_all_kept() -> None:
    assert choose_points({"loss": [3.0, 2.0, 1.0]}, 3, 3) == [0, 1, 2]
    assert choose_points({}, 0, 10) == []


def test_no_peak_of_any_curve_is_lost() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 5000)) / 10
    noise[0, 1234], noise[1, 4321], noise[2, 17] = 9, -9, 9
    curves = {str(index): list(curve) for index, curve in enumerate(noise)}

    chosen = choose_points(curves, 5000, 2000)

    assert len(chosen) <= 2000
    assert chosen == sorted(set(chosen))
    assert {0, 17, 1234, 4321, 4999} <= set(chosen)


def test_values_that_are_not_finite_are_no_points() -> None:
    loss: list[float | None] = [1.0, *[None] * 98, 2.0]

    assert choose_points({"loss": loss, "lost": [None] * 100}, 100, 20) == [0, 99]


def test_more_curves_than_points_still_keep_the_ends() -> None:
    curves = {str(index): list(np.random.default_rng(index).normal(size=500)) for index in range(30)}

    chosen = choose_points(curves, 500, 10)

    assert (len(chosen), chosen[0], chosen[-1]) == (10, 0, 499)
