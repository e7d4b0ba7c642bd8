"""Test that charts are complete images with the expected texts. How they look is checked by eye."""

import io
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.support.examples import DIGITS, IRIS, XOR, Json, changed
from tests.support.images import encoded
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, colors, npz, upload_dataset, zipped
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
VERSION = "/api/v1/models/digits/versions/1"
CONVOLUTION: Json = changed(
    DIGITS,
    "network.layers",
    [
        {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "name": "edges", "activation": "relu"},
        {"layer": "Residual", "layers": [{"layer": "Conv2D", "filters": 6, "kernel_size": 3, "padding": "same"}]},
        {"layer": "Flatten"},
        {"layer": "Dense", "units": 10, "activation": "softmax"},
    ],
)


def read_text(answer: Any) -> str:
    """Return all texts of an SVG chart, joined by spaces."""
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml"), answer.text
    return " ".join(ET.fromstring(answer.data).itertext())  # noqa: S314 - the service's own SVG


def read_pixels(answer: Any) -> np.ndarray:
    """Return the pixels of a PNG chart, (height, width, 3) uint8."""
    assert (answer.status_code, answer.mimetype) == (200, "image/png"), answer.text
    return np.asarray(Image.open(io.BytesIO(answer.data)).convert("RGB"))


def test_curves_show_every_metric_of_training_and_validation(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, DIGITS)

    text = read_text(http.get(f"/api/v1/jobs/{job['id']}/curves.svg"))

    assert all(word in text for word in ("loss", "accuracy", "training", "validation", "epoch"))
    assert read_pixels(http.get(f"/api/v1/jobs/{job['id']}/curves.png")).std() > 1


def test_a_job_without_epochs_has_no_curves(http: FlaskClient) -> None:
    job_id = http.post("/api/v1/jobs", json=DIGITS).json["id"]

    assert http.get(f"/api/v1/jobs/{job_id}/curves.svg").json["type"] == "/problems/picture-not-found"
    assert http.get(f"/api/v1/jobs/{job_id}/curves.gif").status_code == 422


def test_the_confusion_matrix_shows_its_axes_and_every_count(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)
    matrix = http.get(f"{VERSION}/evaluation").json["classification"]["confusion"]

    words = read_text(http.get(f"{VERSION}/evaluation/confusion.svg")).split()

    assert {"predicted", "true", "share", "(%)"} <= set(words)
    assert {str(count) for row in matrix for count in row} <= set(words)


def test_galleries_show_images_with_label_and_prediction(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, changed(DIGITS, "training.epochs", 1))
    mistakes = http.get(f"{VERSION}/evaluation/mistakes").json["mistakes"]

    text = read_text(http.get(f"{VERSION}/evaluation/mistakes.svg"))
    one_cell = http.get(
        f"{VERSION}/evaluation/mistakes.svg?true={mistakes[0]['true']}&predicted={mistakes[0]['predicted']}&limit=1"
    )
    sample = read_text(http.get(f"{VERSION}/evaluation/sample.svg"))

    assert f"{mistakes[0]['predicted']} (" in text
    assert read_text(one_cell).count("✗") == 1
    assert sample.count("✗") + sample.count("✓") == 32
    drawn = [read_text(http.get(f"{VERSION}/evaluation/sample.svg?seed={seed}")) for seed in (1, 2, 1)]
    assert all(one.count("✗") + one.count("✓") == 32 for one in drawn)
    assert drawn[0] == drawn[2] != drawn[1] != sample
    assert http.get(f"{VERSION}/evaluation/mistakes.svg?true=zork").status_code == 422


def test_weights_are_numbers_with_their_histogram(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, changed(XOR, "training.epochs", 1))
    path = "/api/v1/models/xor/versions/1/layers/dense"

    shown = http.get(f"{path}/weights").json
    stored = np.load(io.BytesIO(http.get(f"{path}/weights.npz").data))

    assert [array["name"] for array in shown["arrays"]] == ["kernel", "bias"]
    assert stored.files == ["0 kernel", "1 bias"]
    kernel = shown["arrays"][0]
    assert np.allclose(kernel["values"], stored["0 kernel"])
    assert (kernel["shape"], sum(kernel["counts"])) == (list(stored["0 kernel"].shape), stored["0 kernel"].size)
    assert len(kernel["edges"]) == len(kernel["counts"]) + 1
    assert kernel["mean"] == pytest.approx(float(stored["0 kernel"].mean()), abs=1e-6)
    assert_problem(http.get("/api/v1/models/xor/versions/1/layers/nope/weights"), 404, "layer-not-found")


def test_kernels_and_feature_maps_are_those_of_the_layer(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, CONVOLUTION)
    digit = encoded(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)

    layers = http.get(f"{VERSION}/layers").json
    kernels = read_text(http.get(f"{VERSION}/layers/edges/kernels.svg"))
    maps = http.post(f"{VERSION}/layers/edges/feature-maps.svg", data=digit, content_type="image/png")
    deeper = read_text(http.get(f"{VERSION}/layers/conv2d/kernels.svg"))

    assert [row["name"] for row in layers["layers"]] == ["edges", "conv2d", "conv2d_1", "add", "flatten", "dense"]
    assert layers["parameters"] == sum(row["parameters"] for row in layers["layers"])
    assert "4 kernels of 3 × 3" in kernels
    assert "4 maps of 6 × 6" in read_text(maps)
    assert "the mean of 4 channels" in deeper


@pytest.mark.parametrize(
    ("layer", "kind"), [("zork", "layer-not-found"), ("dense", "picture-not-found"), ("flatten", "picture-not-found")]
)
def test_a_layer_without_a_chart_is_answered_with_a_problem(
    http: FlaskClient, worker: InProcessWorker, layer: str, kind: str
) -> None:
    train(http, worker, CONVOLUTION)
    digit = encoded(np.zeros((8, 8), np.uint8))

    kernels = http.get(f"{VERSION}/layers/{layer}/kernels.png")
    maps = http.post(f"{VERSION}/layers/{layer}/feature-maps.png", data=digit, content_type="image/png")

    assert [answer.json["type"] for answer in (kernels, maps)] == [f"/problems/{kind}"] * 2


def test_a_network_with_two_inputs_has_a_decision_surface(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, XOR)

    text = read_text(http.get("/api/v1/models/xor/versions/1/decision-surface.svg"))

    assert "input 0" in text
    assert "probability of 1" in text


def test_a_decision_surface_shows_three_classes(http: FlaskClient, worker: InProcessWorker) -> None:
    rows = "\n".join(f"{n % 9},{n % 4},{'abc'[n % 3]}" for n in range(60))
    upload_dataset(http, f"wide,high,kind\n{rows}\n".encode(), "shapes")
    spec = {
        "model": "shapes",
        "dataset": {"name": "shapes"},
        "network": {"layers": [{"layer": "Dense", "units": 3, "activation": "softmax"}]},
    }
    train(http, worker, spec)

    text = read_text(http.get("/api/v1/models/shapes/versions/1/decision-surface.svg"))

    assert all(word in text for word in ("wide", "high", "predicted class", "a"))


def test_four_inputs_have_no_decision_surface_and_tables_no_gallery(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, IRIS)

    surface = http.get("/api/v1/models/iris/versions/1/decision-surface.png")
    gallery = http.get("/api/v1/models/iris/versions/1/evaluation/sample.png")

    assert surface.json["type"] == "/problems/picture-not-found"
    assert gallery.json["type"] == "/problems/evaluation-not-found"


@pytest.mark.parametrize(
    "content",
    [zipped(colors()), TABLE.encode(), npz(x=np.arange(600, dtype=np.uint8).reshape(6, 10, 10), y=[0, 1, 2, 0, 1, 2])],
    ids=["images", "table", "arrays"],
)
def test_data_sets_have_a_preview(http: FlaskClient, content: bytes) -> None:
    upload_dataset(http, content)

    assert read_pixels(http.get("/api/v1/datasets/colors/preview.png")).std() > 1
    assert "colors@1" in read_text(http.get("/api/v1/datasets/colors@1/preview.svg"))


@pytest.mark.parametrize("values", [(600_000, 600_000), (1_700_000_000, 1_700_000_060), (1e30, 1e30), (-3e38, 3e38)])
def test_columns_of_large_or_equal_numbers_have_a_preview(http: FlaskClient, values: tuple[float, float]) -> None:
    upload_dataset(http, f"time,b,l\n{values[0]},1,x\n{values[1]},2,y\n".encode())

    assert read_pixels(http.get("/api/v1/datasets/colors/preview.png")).std() > 1


def test_a_preview_names_integer_labels_that_do_not_start_at_0(http: FlaskClient) -> None:
    upload_dataset(http, npz(x=np.zeros((4, 8, 8), np.uint8), y=[-5, -4, -5, -4]))

    text = read_text(http.get("/api/v1/datasets/colors/preview.svg"))

    assert "-5" in text.replace("−", "-")
    assert "-4" in text.replace("−", "-")


def test_an_unchanged_chart_is_not_sent_again(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)
    first = http.get(f"{VERSION}/evaluation/confusion.png")

    again = http.get(f"{VERSION}/evaluation/confusion.png", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


def test_the_dark_theme_gives_dark_charts(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, DIGITS)
    address = f"{VERSION}/evaluation/confusion"

    light, dark = (read_pixels(http.get(f"{address}.png?theme={theme}"))[0, 0].mean() for theme in ("light", "dark"))

    assert light > 250
    assert dark < 30
    assert b"prefers-color-scheme: dark" in http.get(f"{address}.svg").data
    assert b"prefers-color-scheme" not in http.get(f"{address}.svg?theme=dark").data
