"""Upload a data set, train on it, predict by the version and read its pictures and logs."""

import zipfile

import httpx
import pytest

from tests.support.clients import Json, await_end, submit
from tests.support.stacks import Stack
from tests.support.uploads import BLUE, RED, colors, flat, zipped

SPEC: Json = {
    "model": "colors",
    "dataset": {"name": "colors", "validation": {"split": 0.2}, "test": {"split": 0.25, "stratify": True}},
    "preprocessing": {"size": [16, 16]},
    "network": {
        "layers": [
            {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu", "name": "colours"},
            {"layer": "GlobalAveragePooling2D"},
            {"layer": "Dense", "units": 2, "activation": "softmax"},
        ]
    },
    "training": {
        "epochs": 60,
        "batch_size": 8,
        "optimizer": {"name": "Adam", "learning_rate": 0.05},
        "deterministic": True,
        "tensorboard": True,
    },
}


@pytest.fixture(scope="module")
def version(stack: Stack) -> Json:
    """Upload coloured images, train on them and return the version."""
    form = {"name": "colors"}
    uploaded = stack.http.post("/api/v1/datasets", data=form, files={"file": ("colors.zip", zipped(colors(40)))})
    assert uploaded.status_code in (200, 201), uploaded.text
    job = await_end(stack.http, submit(stack.http, SPEC))
    assert job["status"] == "succeeded", job["error"]
    version: Json = stack.http.get(f"/api/v1/models/colors/versions/{job['version']}").json()
    return version


def test_prediction_label_is_the_folder_name(http: httpx.Client, version: Json) -> None:
    assert version["metrics"]["test"]["accuracy"] == 1

    answer = http.post("/api/v1/models/colors/predictions", content=flat(BLUE), headers={"Content-Type": "image/png"})

    assert answer.json()["predictions"][0]["label"] == "blue"


def test_batch_job_predicts_each_image_of_a_zip_file(http: httpx.Client, version: Json) -> None:
    members: dict[str | zipfile.ZipInfo, bytes] = {"b.png": flat(BLUE), "a.png": flat(RED), "broken.png": b"no image"}
    sent = http.post("/api/v1/models/colors/batch-predictions", files={"file": ("some.zip", zipped(members))})
    assert sent.status_code == 202, sent.text

    job = await_end(http, sent.json())

    assert (job["status"], job["batch"]) == (
        "succeeded",
        {"version": version["version"], "rows": 3, "done": 3, "failed": 1},
    )
    lines = http.get(f"/api/v1/jobs/{job['id']}/predictions.csv").text.splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["0", "b.png", "blue"],
        ["1", "a.png", "red"],
        ["2", "broken.png", ""],
    ]


@pytest.mark.parametrize(
    "picture",
    ["evaluation/confusion.svg", "evaluation/confusion.png", "evaluation/sample.png", "layers/colours/kernels.png"],
)
def test_pictures_of_a_version_are_served(http: httpx.Client, version: Json, picture: str) -> None:
    answer = http.get(f"/api/v1/models/colors/versions/{version['version']}/{picture}")

    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("image/")


def test_tensorboard_logs_are_served_as_a_zip_file(http: httpx.Client, version: Json) -> None:
    answer = http.get(f"/api/v1/jobs/{version['lineage']['job']}/tensorboard")

    assert answer.content.startswith(b"PK")


def test_reproduction_gives_equal_weights(http: httpx.Client, version: Json) -> None:
    posted = http.post(f"/api/v1/models/colors/versions/{version['version']}/reproduction").json()

    job = await_end(http, posted)

    assert job["reproduction"]["weights_equal"], job
