"""Test that images in memory are resized in parts, large ones into a file."""

from pathlib import Path

import numpy as np
import pytest

from shared.datasets.row_files import MappedRows
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.transforms import transform_images
from tests.support.contracts import build_image_contract
from worker.training.input import image_cache
from worker.training.input.image_cache import BATCH, load_prepared

DECODER = ImageDecoder(ImageLimits(max_bytes=1, max_pixels=1), processes=0)
CONTRACT = build_image_contract(size=(6, 7))
IMAGES = np.random.default_rng(0).integers(0, 255, (BATCH + 5, 4, 5, 3), np.uint8)


@pytest.mark.parametrize("max_bytes", [2**30, 1], ids=["memory", "file"])
def test_images_in_memory_are_resized(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, max_bytes: int) -> None:
    monkeypatch.setattr(image_cache, "MAX_BYTES_IN_MEMORY", max_bytes)
    checks: list[int] = []

    prepared = load_prepared(IMAGES, CONTRACT, "digest", DECODER, tmp_path, lambda: checks.append(1))

    rows = prepared.read(np.arange(len(prepared))) if isinstance(prepared, MappedRows) else prepared
    assert isinstance(prepared, MappedRows) == (max_bytes == 1)
    assert np.array_equal(rows, transform_images(IMAGES, CONTRACT))
    assert len(checks) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_cancellation_ends_the_preparation(tmp_path: Path) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_prepared(IMAGES, CONTRACT, "digest", DECODER, tmp_path, check)
