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


def draw_bar(
    height: int, width: int, top: int, left: int, background: int = 0, foreground: int = 255
) -> NDArray[np.uint8]:
    """Return pixels (height, width, 1) with a bar of 40 × 10 on a noisy background."""
    image = np.random.default_rng(3).integers(background, background + 12, (height, width, 1)).astype(np.uint8)
    image[top : top + 40, left : left + 10] = foreground
    return image


def make_info(shape: tuple[int, ...]) -> DatasetInfo:
    return DatasetInfo(shape, images=True, targets=TargetKind.CLASSES, train_rows=10, test_rows=0)


def compute_centre_of_mass(image: NDArray[np.uint8]) -> tuple[float, float]:
    rows, columns = np.indices(image.shape[:2]) + 0.5
    mass = image[..., 0].astype(float)
    return float((mass * rows).sum() / mass.sum()), float((mass * columns).sum() / mass.sum())


@pytest.mark.parametrize("corner", [(5, 3), (50, 80), (59, 109)])
def test_the_bar_is_scaled_to_the_box_and_centred_by_mass(corner: tuple[int, int]) -> None:
    image = center_by_mass(draw_bar(100, 120, *corner), (28, 28), cv2.INTER_AREA)

    rows, columns = np.flatnonzero(image[..., 0].any(axis=1)), np.flatnonzero(image[..., 0].any(axis=0))
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == (20, 5)
    assert compute_centre_of_mass(image) == pytest.approx((14, 14), abs=0.6)


def test_centring_a_centred_image_changes_nothing() -> None:
    once = center_by_mass(draw_bar(100, 120, 5, 3), (28, 28), cv2.INTER_AREA)

    again = center_by_mass(once, (28, 28), cv2.INTER_AREA)

    assert np.array_equal(once, again)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_of_one_level_is_accepted(level: int) -> None:
    assert center_by_mass(np.full((50, 60, 1), level, np.uint8), (28, 28), cv2.INTER_AREA).shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("background", "foreground", "dark_on_light"),
    [(0, 255, False), (120, 255, False), (240, 20, True), (100, 20, True)],
)
def test_polarity_is_detected_by_the_border(background: int, foreground: int, dark_on_light: object) -> None:
    assert is_dark_on_light(draw_bar(100, 120, 30, 50, background, foreground)) is dark_on_light


def test_dark_and_light_handwriting_is_transformed_to_similar_pixels() -> None:
    preprocessing = Preprocessing.model_validate({"size": [28, 28], "fit": "mnist", "invert": "auto"})
    contract = build_contract(preprocessing, make_info((28, 28, 1)))
    assert isinstance(contract, ImageContract)

    on_paper = transform_image(draw_bar(100, 120, 30, 50, background=200, foreground=30), contract).pixels
    on_black = transform_image(draw_bar(100, 120, 30, 50, background=0, foreground=225), contract).pixels

    assert np.abs(on_paper.astype(int) - on_black).max() <= 25
    assert on_paper[0].max() == 0


def test_the_mnist_fit_is_refused_for_colour_images() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_contract(Preprocessing.model_validate({"fit": "mnist"}), make_info((32, 32, 3)))

    assert refused.value.faults[0].pointer == "#/preprocessing/fit"
