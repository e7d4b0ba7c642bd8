"""Train on MNIST and compare predictions of several image formats and sizes with those of Keras."""

from pathlib import Path

import cv2
import httpx
import keras
import numpy as np
import pytest

from tests.support.clients import Json, await_end, submit_recipe
from tests.support.images import encoded
from tests.support.stacks import Stack, datasets_dir

MNIST = datasets_dir() / "mnist.npz"
pytestmark = pytest.mark.skipif(
    not MNIST.exists(),
    reason=f"{MNIST} does not exist: `python -c 'import keras; keras.datasets.mnist.load_data(\"{MNIST}\")'` loads it",
)
IMAGES = 100
FORMATS = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {}}


@pytest.fixture(scope="module")
def job(stack: Stack) -> Json:
    return await_end(stack.http, submit_recipe(stack.http, "mnist-cnn"))


@pytest.fixture(scope="module")
def network(stack: Stack, job: Json, tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    """Download the trained network and load it by Keras."""
    path: Path = tmp_path_factory.mktemp("mnist") / "model.keras"
    address = f"/api/v1/models/mnist-cnn/versions/{job['version']}/files/model.keras"
    path.write_bytes(stack.http.get(address).raise_for_status().content)
    return keras.saving.load_model(path)


def test_one_epoch_reaches_97_4_percent_test_accuracy(stack: Stack, job: Json) -> None:
    assert job["status"] == "succeeded", job["error"]
    version = stack.http.get(f"/api/v1/models/mnist-cnn/versions/{job['version']}").json()
    assert version["parameters"] == 910_222
    assert version["metrics"]["test"]["accuracy"] >= 0.974


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("size", [(28, 28), (280, 280), (31, 57)])
def test_served_probabilities_equal_those_of_keras(
    http: httpx.Client, network: keras.Model, file_format: str, size: tuple[int, int]
) -> None:
    with np.load(MNIST) as archive:
        digits = archive["x_test"][:IMAGES]
    images = [
        encoded(cv2.resize(digit, size[::-1], interpolation=cv2.INTER_CUBIC), file_format, **FORMATS[file_format])
        for digit in digits
    ]
    files = [("images", (f"{n}.{file_format.lower()}", image)) for n, image in enumerate(images)]

    answer = http.post("/api/v1/models/mnist-cnn/predictions?top=10", files=files).raise_for_status().json()

    served = np.zeros((IMAGES, 10))
    for row, prediction in zip(served, answer["predictions"], strict=True):
        row[[entry["class"] for entry in prediction["top"]]] = [entry["probability"] for entry in prediction["top"]]
    assert np.abs(served - network.predict(preprocess_images(images), verbose=0)).max() < 1e-3


def preprocess_images(images: list[bytes]) -> np.ndarray:
    """Preprocess images independently of the service: to gray, to 28 × 28 by area interpolation, divided by 255."""
    return np.stack([preprocess_image(image) for image in images])


def preprocess_image(image: bytes) -> np.ndarray:
    gray = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    return cv2.resize(gray, (28, 28), interpolation=cv2.INTER_AREA)[..., np.newaxis].astype(np.float32) / 255
