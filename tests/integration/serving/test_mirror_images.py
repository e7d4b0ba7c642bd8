"""Test `preprocessing.mirror`: answers are means of the outputs for an image and for its mirror image."""

import base64
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, IRIS, Json, changed
from tests.support.images import encoded
from tests.support.jobs import train
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PLAIN: Json = changed(changed(DIGITS, "preprocessing", {"size": "data"}), "training", {"epochs": 0})
MIRRORED: Json = changed(changed(PLAIN, "model", "mirrored"), "preprocessing", {"size": "data", "mirror": True})


@pytest.fixture
def models(http: FlaskClient, worker: InProcessWorker) -> list[Json]:
    """Publish the same network without and with mirror images, and provide both jobs."""
    jobs = [train(http, worker, spec) for spec in (PLAIN, MIRRORED)]
    assert [job["status"] for job in jobs] == ["succeeded"] * 2, jobs
    return jobs


def predict(http: FlaskClient, model: str, *images: np.ndarray) -> np.ndarray:
    """Return the probabilities of images, (n, 10)."""
    instances = [{"b64": base64.b64encode(encoded(image)).decode()} for image in images]
    answer = http.post(f"/api/v1/models/{model}/predictions?top=10", json={"instances": instances})
    assert answer.status_code == 200, answer.text
    found = [{one["class"]: one["probability"] for one in each["top"]} for each in answer.json["predictions"]]
    return np.array([[probabilities[name] for name in sorted(probabilities)] for probabilities in found])


def test_answers_are_means(http: FlaskClient, models: list[Json]) -> None:  # noqa: ARG001 - the models are published
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8), np.uint8)

    mirrored = predict(http, "mirrored", *images)

    own, flipped = predict(http, "digits", *images), predict(http, "digits", *(image[:, ::-1] for image in images))
    np.testing.assert_allclose(mirrored, (own + flipped) / 2, atol=1e-5)
    assert np.abs(own - flipped).max() > 1e-3, "the images are not symmetric"


def test_other_formats_answer_the_same(http: FlaskClient, models: list[Json]) -> None:  # noqa: ARG001
    image = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
    pixels = (image[np.newaxis, ..., np.newaxis] / 255).tolist()
    sent = {"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": pixels}

    tensors = http.post("/v2/models/mirrored/infer", json={"inputs": [sent]}).json["outputs"][0]["data"]
    encoded_image = {"instances": [{"b64": base64.b64encode(encoded(image)).decode()}]}
    listed = http.post("/v1/models/mirrored:predict", json=encoded_image).json["predictions"][0]

    expected = predict(http, "mirrored", image)[0]
    np.testing.assert_allclose(tensors, expected, atol=1e-5)
    np.testing.assert_allclose(listed, expected, atol=1e-5)


def test_metrics_are_those_of_the_answers(http: FlaskClient, worker: InProcessWorker, models: list[Json]) -> None:
    for part in ("validation", "test"):
        http.post("/api/v1/models/mirrored/versions/1/evaluations", json={"part": part})
    worker.run_all()

    evaluations: Any = http.get("/api/v1/models/mirrored/versions/1/evaluations").json["evaluations"]
    again = {each["part"]: each["metrics"] for each in evaluations}
    plain, mirrored = (job["metrics"] for job in models)
    for part in ("validation", "test"):
        assert mirrored[part]["loss"] == pytest.approx(again[part]["loss"])
        assert mirrored[part]["loss"] != pytest.approx(plain[part]["loss"])


def test_the_self_test_and_the_contract(http: FlaskClient, models: list[Json]) -> None:  # noqa: ARG001
    assert http.get("/api/v1/models/mirrored/versions/1/self-test").json["passed"]
    contracts = [
        http.get(f"/api/v1/models/{model}/versions/1").json["preprocessing"].get("mirror")
        for model in ("digits", "mirrored")
    ]
    assert contracts == [None, True]


def test_further_training_keeps_it_unless_told_otherwise(
    http: FlaskClient,
    worker: InProcessWorker,
    models: list[Json],  # noqa: ARG001
) -> None:
    for model, preprocessing, wanted in (("kept", {}, True), ("dropped", {"mirror": False}, None)):
        spec = {
            "model": model,
            "dataset": {"name": "digits"},
            "preprocessing": preprocessing,
            "network": {"from": "mirrored"},
            "training": {"epochs": 0},
        }
        assert train(http, worker, spec)["status"] == "succeeded"
        version = http.get(f"/api/v1/models/{model}/versions/1").json
        assert version["preprocessing"].get("mirror") == wanted


def test_rows_of_numbers_have_no_mirror_image(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(IRIS, "preprocessing", {"mirror": True}))

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/preprocessing/mirror"
    assert "This key is for images" in answer.json["errors"][0]["detail"]
