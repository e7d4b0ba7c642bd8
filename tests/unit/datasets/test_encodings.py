"""Test how cells of a table become numbers."""

import pytest

from shared.datasets.encodings import ColumnEncoding


@pytest.mark.parametrize("cell", [1e39, -1e308, 10**400, float("inf")])
def test_a_number_that_is_no_float32_is_refused(cell: float) -> None:
    with pytest.raises(ValueError, match="not a finite 32-bit number"):
        ColumnEncoding("age", fill=1).encode(cell)


def test_a_column_of_words_takes_no_other_numbers() -> None:
    encoding = ColumnEncoding("sick", words=("no", "yes"))

    assert [encoding.encode(cell) for cell in ("No", "yes", 1, 0.0, True)] == [[0], [1], [1], [0], [1]]
    for cell in (2, -7.5):
        with pytest.raises(ValueError, match="neither 'no' nor 'yes'"):
            encoding.encode(cell)


def test_spaces_around_a_category_do_not_count() -> None:
    assert ColumnEncoding("city", categories=("a", "b")).encode(" b ") == [0, 1]
