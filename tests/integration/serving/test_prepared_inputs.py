"""Test the picture of what a version sees."""

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, IRIS, changed
from tests.support.images import encoded
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PATH = "/api/v1/models/digits/versions/1/prepared.png"


def read_png(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


@pytest.mark.parametrize("scale", ["unit", "signed", "none", "standardize"])
def test_an_image_is_shown_as_the_network_gets_it(http: FlaskClient, worker: InProcessWorker, scale: str) -> None:
    spec = changed(
        changed(DIGITS, "preprocessing", {"size": "data", "scale": scale, "invert": "always"}), "training.epochs", 1
    )
    train(http, worker, spec)
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)

    answer = http.post(PATH, data=encoded(image), content_type="image/png")
    large = http.post(f"{PATH}?side=16", data=encoded(image), content_type="image/png")

    assert np.array_equal(read_png(answer.data), 255 - image)
    assert read_png(large.data).shape == (16, 16)
    assert_problem(http.post(PATH, data=b"no image", content_type="image/png"), 422, "invalid-image")


def test_a_row_of_a_table_has_no_picture(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, changed(IRIS, "training.epochs", 1))

    answer = http.post("/api/v1/models/iris/versions/1/prepared.png", json={"instances": [[1, 2, 3, 4]]})

    assert_problem(answer, 404, "picture-not-found")
