"""Train the recipe `digits-cnn` and predict test images, as a first user does."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from shared.datasets import splits
from shared.spec.dataset import DatasetSpec
from tests.support.clients import Json, await_end, submit, submit_recipe
from tests.support.examples import DIGITS
from tests.support.images import encoded
from tests.support.stacks import Stack


@pytest.fixture(scope="module")
def job(stack: Stack) -> Json:
    return await_end(stack.http, submit_recipe(stack.http, "digits-cnn"))


def test_recipe_reaches_97_percent_test_accuracy(http: httpx.Client, job: Json) -> None:
    assert job["status"] == "succeeded", job["error"]
    version = http.get(f"/api/v1/models/digits-cnn/versions/{job['version']}").json()
    assert version["metrics"]["test"]["accuracy"] >= 0.97


@pytest.mark.usefixtures("job")
def test_predictions_of_unseen_digits_are_correct(http: httpx.Client) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 0, Path()).test
    rows = np.random.default_rng(0).permutation(len(test))[:100]
    files = [("digits", (f"{row}.png", encoded(test.array[row]), "image/png")) for row in rows]

    answer = http.post("/api/v1/models/digits-cnn/predictions", files=files).json()

    right = sum(prediction["class"] == test.y[row] for prediction, row in zip(answer["predictions"], rows, strict=True))
    assert right >= 96


def test_event_stream_reports_statuses_and_seconds_left(http: httpx.Client) -> None:
    job = submit(http, DIGITS)
    with http.stream("GET", f"/api/v1/jobs/{job['id']}/events") as stream:
        events = [json.loads(line[len("data: ") :]) for line in stream.iter_lines() if line.startswith("data: ")]

    statuses = [event["status"] for event in events if "status" in event]
    assert statuses == ["queued", "running", "succeeded"]
    assert any("seconds_left" in event for event in events)


def test_documentation_and_openapi_document_are_served(http: httpx.Client) -> None:
    assert http.get("/docs").is_success
    assert "/api/v1/jobs" in http.get("/openapi.json").json()["paths"]


def test_body_over_the_limit_gets_413_whole_or_in_chunks(http: httpx.Client) -> None:
    large = b" " * 100 * 2**20
    address = "/api/v1/models/digits-cnn/predictions"

    whole = http.post(address, content=large, headers={"Content-Type": "image/png"})
    in_chunks = http.post(address, content=iter([large]), headers={"Content-Type": "image/png"})

    assert (whole.status_code, in_chunks.status_code) == (413, 413)
