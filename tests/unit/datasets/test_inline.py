from typing import Any

import numpy as np
import pytest

from shared.datasets.info import TargetKind
from shared.datasets.inline import read_inline
from shared.errors import InvalidRequest
from shared.spec.dataset import InlineData


def read(x: list[Any], y: list[Any]) -> tuple[Any, ...]:
    return read_inline(InlineData(x=x, y=y))


def test_plain_numbers_are_rows_of_one_column() -> None:
    info, x, y = read([1, 2, 3], [2, 2.5, 3.5])

    assert (info.shape, info.images, info.targets) == ((1,), False, TargetKind.NUMBERS)
    assert x.tolist() == [[1], [2], [3]]
    assert y.tolist() == [[2], [2.5], [3.5]]


def test_whole_number_targets_may_be_classes() -> None:
    info, _, y = read([[0, 0], [0, 1]], [[0], [1]])

    assert info.targets is TargetKind.INTEGERS
    assert y.tolist() == [0, 1]


def test_text_targets_are_classes_in_alphabetical_order() -> None:
    info, _, y = read([1, 2, 3], ["dog", "cat", "dog"])

    assert info.classes == ("cat", "dog")
    assert y.tolist() == [1, 0, 1]


def test_rows_with_a_single_one_are_one_hot() -> None:
    info, _, _ = read([1, 2], [[0, 1, 0], [1, 0, 0]])

    assert (info.targets, info.target_width) == (TargetKind.ONE_HOT, 3)


def test_whole_pixel_levels_from_0_to_255_are_images() -> None:
    info, x, _ = read([[[[0], [255]], [[7], [8]]]], [1])

    assert (info.images, info.shape, x.dtype) == (True, (2, 2, 1), np.uint8)


def test_fractional_pixel_levels_are_numbers() -> None:
    info, x, _ = read([[[[0.5], [1]], [[0], [0]]]], [1])

    assert (info.images, x.dtype) == (False, np.float32)


@pytest.mark.parametrize(
    ("x", "y", "pointer"),
    [
        ([[1, 2], [3]], [0, 1], "#/dataset/inline/x/1"),
        ([[1, 2], 3], [0, 1], "#/dataset/inline/x/1"),
        ([[1, 2], [3, "a"]], [0, 1], "#/dataset/inline/x/1/1"),
        ([[1, 2], [3, float("nan")]], [0, 1], "#/dataset/inline/x/1/1"),
        ([[1, 2], [3, 1e39]], [0, 1], "#/dataset/inline/x/1/1"),
        ([[1, 2], [3, None]], [0, 1], "#/dataset/inline/x/1/1"),
        ([[1, 2], [3, True]], [0, 1], "#/dataset/inline/x/1/1"),
        ([[]], [0], "#/dataset/inline/x/0"),
        ([[[[[[1]]]]]], [0], "#/dataset/inline/x/0/0/0/0/0"),
        ([1, 2], [0], "#/dataset/inline/y"),
        ([1, 2], ["a", 1], "#/dataset/inline/y/1"),
        ([1, 2], ["a", "b" * 101], "#/dataset/inline/y"),
        ([1, 2], [1, "a"], "#/dataset/inline/y/1"),
        ([1], [[[1]]], "#/dataset/inline/y/0"),
    ],
)
def test_the_first_invalid_entry_is_named(x: list[Any], y: list[Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(x, y)

    assert refused.value.faults[0].pointer == pointer


def test_huge_whole_number_targets_are_numbers_not_classes() -> None:
    info, _, y = read([1, 2], [1e30, 2])

    assert info.targets is TargetKind.NUMBERS
    assert np.isfinite(y).all()
