"""Test predictions for photos against a reference that was written from docs/spec.md with OpenCV and Keras alone."""

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

SIZE = 16
SPEC = changed(changed(DIGITS, "model", "rgb"), "preprocessing", {"size": [SIZE, SIZE], "color": "rgb"})
ORIENTATION = 0x112
FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""Reduction of width and height → the flag with which OpenCV decodes a JPEG to that size."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Provide settings with limits that whole photos stay below."""
    return settings.model_copy(
        update={"max_request_bytes": 2**25, "max_image_bytes": 2**24, "max_image_pixels": 10_000_000}
    )


@pytest.fixture(scope="module")
def network(published: Callable[[Json], PublishedVersion]) -> keras.Model:
    """Provide the network as Keras loads it from the file of the version."""
    return keras.models.load_model(next(path for path in published(SPEC).paths if path.name == "model.keras"))


@pytest.fixture
def rgb(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with version 1 of the model `rgb` published."""
    published(SPEC).publish(sessions, worker.context.artifacts)
    return http


def encode_photo(name: str, width: int, file_format: str, orientation: int) -> bytes:
    """Encode a photo of scikit-learn, resized to `width`, with an EXIF orientation from 1 to 8."""
    photo = load_sample_image(name)
    height = round(photo.shape[0] * width / photo.shape[1])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(photo, (width, height))).save(buffer, file_format, quality=90, exif=exif)
    return buffer.getvalue()


def predict_reference(network: keras.Model, data: bytes, file_format: str) -> NDArray[np.float32]:
    """Decode, resize and predict an image as docs/spec.md says. Returns the probabilities (10,)."""
    width, height = Image.open(io.BytesIO(data)).size
    factor = 1
    if file_format == "JPEG" and width * height >= 200_000:
        factor = max(factor for factor in FLAGS if factor == 1 or min(width, height) / factor >= 3 * SIZE)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[factor])
    assert decoded is not None
    pixels = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    resized = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    answer: NDArray[np.float32] = network.predict(resized[np.newaxis] / np.float32(255), verbose=0)[0]
    return answer


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("width", [20, 300, 640, 800, 2400])
def test_photos_get_the_predictions_of_the_reference(
    rgb: FlaskClient, network: keras.Model, name: str, file_format: str, width: int
) -> None:
    for orientation in range(1, 9) if file_format == "JPEG" else (1,):
        data = encode_photo(name, width, file_format, orientation)

        answer = rgb.post("/api/v1/models/rgb/predictions?top=10", data=data).json["predictions"][0]

        expected = predict_reference(network, data, file_format)
        assert answer["class"] == expected.argmax()
        for ranked in answer["top"]:
            assert ranked["probability"] == pytest.approx(expected[ranked["class"]], abs=1e-3)
