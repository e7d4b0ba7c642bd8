"""Photos get the answers of a reference that was written from docs/spec.md, with OpenCV and Keras alone."""

import io
from collections.abc import Callable

import cv2
import keras
import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from shared.database.engine import Sessions
from shared.settings import Settings
from tests.support.examples import DIGITS, Json, changed
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

SIDE = 16
SPEC = changed(changed(DIGITS, "model", "rgb"), "preprocessing", {"size": [SIDE, SIDE], "color": "rgb"})
ORIENTATION = 0x112
FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With room for whole photos."""
    return settings.model_copy(
        update={"max_request_bytes": 2**25, "max_image_bytes": 2**24, "max_image_pixels": 10_000_000}
    )


@pytest.fixture(scope="module")
def network(published: Callable[[Json], PublishedVersion]) -> keras.Model:
    return keras.models.load_model(next(path for path in published(SPEC).paths if path.name == "model.keras"))


@pytest.fixture
def rgb(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    published(SPEC).publish(sessions, worker.context.artifacts)
    return http


def encoded_photo(name: str, width: int, file_format: str, orientation: int) -> bytes:
    photo = load_sample_image(name)
    height = round(photo.shape[0] * width / photo.shape[1])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(photo, (width, height))).save(buffer, file_format, quality=90, exif=exif)
    return buffer.getvalue()


def reference(network: keras.Model, data: bytes, file_format: str) -> NDArray[np.float32]:
    width, height = Image.open(io.BytesIO(data)).size
    factor = 1
    if file_format == "JPEG" and width * height >= 200_000:
        factor = max(factor for factor in FLAGS if factor == 1 or min(width, height) / factor >= 3 * SIDE)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[factor])
    assert decoded is not None
    pixels = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    answer: NDArray[np.float32] = network.predict(resized[np.newaxis] / np.float32(255), verbose=0)[0]
    return answer


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("width", [20, 300, 640, 800, 2400])
def test_photos_are_answered_as_the_reference_does(
    rgb: FlaskClient, network: keras.Model, name: str, file_format: str, width: int
) -> None:
    for orientation in range(1, 9) if file_format == "JPEG" else (1,):
        data = encoded_photo(name, width, file_format, orientation)

        answer = rgb.post("/api/v1/models/rgb/predictions?top=10", data=data).json["predictions"][0]

        expected = reference(network, data, file_format)
        assert answer["class"] == expected.argmax()
        for ranked in answer["top"]:
            assert ranked["probability"] == pytest.approx(expected[ranked["class"]], abs=1e-3)
