"""Names in one array, however long the longest is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.datasets.labels import places_of
from shared.datasets.row_files import joined, split
from worker.prediction.items import BatchItems

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


@pytest.mark.parametrize("form", [joined, np.asarray])
def test_names_of_images_are_read_as_they_were_ever_written(
    tmp_path: Path, form: Callable[[list[str]], np.ndarray]
) -> None:
    (tmp_path / "images.bin").write_bytes(b"ab")
    np.savez(tmp_path / "index.npz", offsets=[0, 1, 2], names=form(["red/1.png", "red/2.png"]))

    items = BatchItems({path.name: path for path in tmp_path.iterdir()})

    assert [items.name(row) for row in range(2)] == ["red/1.png", "red/2.png"]
