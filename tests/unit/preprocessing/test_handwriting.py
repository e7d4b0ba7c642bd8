import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import InvalidRequest
from shared.preprocessing.contract import ImageContract, build_contract
from shared.preprocessing.handwriting import center_by_mass, is_dark_on_light
from shared.preprocessing.transforms import transform_image
from shared.spec.preprocessing import Preprocessing


def stroke(height: int, width: int, top: int, left: int, ground: int = 0, ink: int = 255) -> NDArray[np.uint8]:
    """(height, width, 1) with a bar of 40 × 10, and some noise on the ground."""
    image = np.random.default_rng(3).integers(ground, ground + 12, (height, width, 1)).astype(np.uint8)
    image[top : top + 40, left : left + 10] = ink
    return image


def info(shape: tuple[int, ...]) -> DatasetInfo:
    return DatasetInfo(shape, images=True, targets=TargetKind.CLASSES, train_rows=10, test_rows=0)


def centre(image: NDArray[np.uint8]) -> tuple[float, float]:
    rows, columns = np.indices(image.shape[:2]) + 0.5
    mass = image[..., 0].astype(float)
    return float((mass * rows).sum() / mass.sum()), float((mass * columns).sum() / mass.sum())


@pytest.mark.parametrize("corner", [(5, 3), (50, 80), (59, 109)])
def test_ink_is_scaled_to_the_box_and_its_mass_put_in_the_middle(corner: tuple[int, int]) -> None:
    image = center_by_mass(stroke(100, 120, *corner), (28, 28), cv2.INTER_AREA)

    rows, columns = np.flatnonzero(image[..., 0].any(axis=1)), np.flatnonzero(image[..., 0].any(axis=0))
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == (20, 5)
    assert centre(image) == pytest.approx((14, 14), abs=0.6)


def test_what_is_laid_out_stays_so() -> None:
    once = center_by_mass(stroke(100, 120, 5, 3), (28, 28), cv2.INTER_AREA)

    again = center_by_mass(once, (28, 28), cv2.INTER_AREA)

    assert np.array_equal(once, again)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_page_stays_empty(level: int) -> None:
    assert center_by_mass(np.full((50, 60, 1), level, np.uint8), (28, 28), cv2.INTER_AREA).shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("ground", "ink", "dark_on_light"), [(0, 255, False), (120, 255, False), (240, 20, True), (100, 20, True)]
)
def test_the_border_says_which_is_the_ground(ground: int, ink: int, dark_on_light: object) -> None:
    assert is_dark_on_light(stroke(100, 120, 30, 50, ground, ink)) is dark_on_light


def test_a_photo_of_ink_on_paper_becomes_a_digit_of_mnist() -> None:
    preprocessing = Preprocessing.model_validate({"size": [28, 28], "fit": "mnist", "invert": "auto"})
    contract = build_contract(preprocessing, info((28, 28, 1)))
    assert isinstance(contract, ImageContract)

    on_paper = transform_image(stroke(100, 120, 30, 50, ground=200, ink=30), contract).pixels
    on_black = transform_image(stroke(100, 120, 30, 50, ground=0, ink=225), contract).pixels

    assert np.abs(on_paper.astype(int) - on_black).max() <= 25
    assert on_paper[0].max() == 0


def test_handwriting_in_colour_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_contract(Preprocessing.model_validate({"fit": "mnist"}), info((32, 32, 3)))

    assert refused.value.faults[0].pointer == "#/preprocessing/fit"
