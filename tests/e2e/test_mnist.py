"""MNIST whole, and images of it in several formats and sizes, against what Keras itself answers."""

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
    reason=f"{MNIST} is not there: `python -c 'import keras; keras.datasets.mnist.load_data(\"{MNIST}\")'` brings it",
)
IMAGES = 100
FORMATS = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {}}


@pytest.fixture(scope="module")
def job(stack: Stack) -> Json:
    return await_end(stack.http, submit_recipe(stack.http, "mnist-cnn"))


@pytest.fixture(scope="module")
def network(stack: Stack, job: Json, tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    path: Path = tmp_path_factory.mktemp("mnist") / "model.keras"
    address = f"/api/v1/models/mnist-cnn/versions/{job['version']}/files/model.keras"
    path.write_bytes(stack.http.get(address).raise_for_status().content)
    return keras.saving.load_model(path)


def test_one_epoch_is_enough(stack: Stack, job: Json) -> None:
    assert job["status"] == "succeeded", job["error"]
    version = stack.http.get(f"/api/v1/models/mnist-cnn/versions/{job['version']}").json()
    assert version["parameters"] == 910_222
    assert version["metrics"]["test"]["accuracy"] >= 0.974


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("size", [(28, 28), (280, 280), (31, 57)])
def test_posted_images_get_the_answers_that_keras_gives(
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
    assert np.abs(served - network.predict(reference_inputs(images), verbose=0)).max() < 1e-3


def reference_inputs(images: list[bytes]) -> np.ndarray:
    """The contract, written anew: gray, 28 × 28 by area, divided by 255."""
    return np.stack([reference_input(image) for image in images])


def reference_input(image: bytes) -> np.ndarray:
    gray = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    return cv2.resize(gray, (28, 28), interpolation=cv2.INTER_AREA)[..., np.newaxis].astype(np.float32) / 255
