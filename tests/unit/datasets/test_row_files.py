"""Test that names are stored in one array whose size does not depend on the longest name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.datasets.labels import encode_labels
from shared.datasets.row_files import join_lines, split_lines
from worker.prediction.items import PredictionItems

NAMES = ["x" * 60_000, *["ä"] * 100_000]


def test_joined_names_are_split_again_and_use_little_memory() -> None:
    lines = join_lines(NAMES)

    assert split_lines(lines) == tuple(NAMES)
    assert lines.nbytes < 400_000


@pytest.mark.parametrize("texts", [[""], ["a"], ["a", "", "b"]])
def test_few_names_are_split_as_they_were_joined(texts: list[str]) -> None:
    assert split_lines(join_lines(texts)) == tuple(texts)


def test_labels_are_numbered_in_alphabetical_order() -> None:
    names, indices = encode_labels([*NAMES, "a"])

    assert names == ("a", "x" * 60_000, "ä")
    assert indices.tolist() == [1, *[2] * 100_000, 0]


@pytest.mark.parametrize("form", [join_lines, np.asarray])
def test_image_names_are_read_in_both_stored_formats(tmp_path: Path, form: Callable[[list[str]], np.ndarray]) -> None:
    (tmp_path / "images.bin").write_bytes(b"ab")
    np.savez(tmp_path / "index.npz", offsets=[0, 1, 2], names=form(["red/1.png", "red/2.png"]))

    items = PredictionItems({path.name: path for path in tmp_path.iterdir()})

    assert [items.name(row) for row in range(2)] == ["red/1.png", "red/2.png"]
