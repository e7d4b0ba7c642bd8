"""Names in one array, however long the longest is."""

import pytest

from shared.class_names import places_of
from shared.lines import joined, split

NAMES = ["x" * 60_000, *["ä"] * 100_000]


def test_lines_are_joined_and_split() -> None:
    lines = joined(NAMES)

    assert split(lines) == tuple(NAMES)
    assert lines.nbytes < 400_000


@pytest.mark.parametrize("texts", [[""], ["a"], ["a", "", "b"]])
def test_few_lines_are_split_as_they_were(texts: list[str]) -> None:
    assert split(joined(texts)) == tuple(texts)


def test_places_are_those_of_the_alphabet() -> None:
    names, places = places_of([*NAMES, "a"])

    assert names == ("a", "x" * 60_000, "ä")
    assert places.tolist() == [1, *[2] * 100_000, 0]
