"""Test what the catalog computes: losses of given labels and outputs, and pictures of activations."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from api.planner.explanations import read_explanations
from shared.networks.activations import list_activations
from shared.networks.objectives import LOSSES

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ONE_HOT = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
OUTPUTS = [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]]


def compute(http: FlaskClient, name: str, y_true: Any, y_pred: Any, **rest: Any) -> Any:
    answer = http.post(f"/api/v1/catalog/losses/{name}", json={"y_true": y_true, "y_pred": y_pred, **rest})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_every_loss_metric_and_activation_is_explained(http: FlaskClient) -> None:
    assert set(read_explanations("losses")) == set(LOSSES)
    metrics = {entry["name"] for entry in http.get("/api/v1/catalog").json["metrics"]} - {"acc", "ce"}  # short names
    assert set(read_explanations("metrics")) == metrics
    assert sorted(read_explanations("activations")) == list_activations()


@pytest.mark.parametrize(
    ("name", "y_true", "y_pred", "rest", "expected"),
    [
        ("binary_crossentropy", [[1], [0], [0], [1]], [[0.8], [0.3], [0.5], [0.9]], {}, 0.3445815),
        ("binary_crossentropy", [1, 0, 0, 1], [0.8, 0.3, 0.5, 0.9], {}, 0.3445815),
        ("categorical_crossentropy", ONE_HOT, OUTPUTS, {}, 1.936381),
        ("sparse_categorical_crossentropy", [1, 2, 0], OUTPUTS, {}, 1.936381),
        ("categorical_crossentropy", [[1, 0, 0]], [[0.7, 0.2, 0.1]], {"log_base": 10}, 0.154901),
        ("categorical_crossentropy", [[1, 0, 0]], [[1, 0, 0]], {}, 0),
        ("mean_squared_error", [[1, 2], [3, 4]], [[2, 2], [3, 2]], {}, 1.25),
        ("huber", [0, 0], [1, 3], {"arguments": {"delta": 2}}, 2.25),
        ("categorical_crossentropy", ONE_HOT, OUTPUTS, {"arguments": {"label_smoothing": 0.1}}, 1.879448),
    ],
)
def test_losses_are_those_of_keras(
    http: FlaskClient, name: str, y_true: Any, y_pred: Any, rest: dict[str, Any], expected: float
) -> None:
    answer = compute(http, name, y_true, y_pred, **rest)

    assert answer["loss"] == pytest.approx(expected, abs=1e-6)
    assert len(answer["rows"]) == len(y_true)
    assert sum(answer["rows"]) / len(y_true) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "body", "found"),
    [
        ("mse", {"y_true": [1], "y_pred": [1]}, "There is no 'mse' among the losses."),
        ("huber", {"y_true": [1, 2], "y_pred": [1]}, "has the shape (2, 1), and `y_pred` (1, 1)"),
        ("huber", {"y_true": [[1, 2], [3]], "y_pred": [1, 2]}, "do not have the same length"),
        ("huber", {"y_true": [1], "y_pred": [1], "arguments": {"dleta": 1}}, "Did you mean 'delta'?"),
        ("huber", {"y_true": [1], "y_pred": [1], "log_base": 10}, "Remove `log_base`"),
        ("huber", {"y_true": [1], "y_pred": [1], "arguments": {"reduction": "sum"}}, "cannot be chosen here"),
        ("categorical_crossentropy", {"y_true": [1, 0], "y_pred": [0.7, 0.3]}, "send a list for each row"),
        ("huber", {"y_true": [1e300], "y_pred": [1]}, "finite number"),
        ("huber", {"y_true": [], "y_pred": [1]}, "at least 1"),
        ("huber", {"y_true": [1] * 10_001, "y_pred": [1]}, "at most 10000"),
        ("sparse_categorical_crossentropy", {"y_true": [3], "y_pred": [[0.5, 0.5]]}, "3 is not the index of one of 2"),
        ("sparse_categorical_crossentropy", {"y_true": [0.5], "y_pred": [[0.5, 0.5]]}, "0.5 is not the index"),
        ("sparse_categorical_crossentropy", {"y_true": [0, 1], "y_pred": [[0.5, 0.5]]}, "`y_pred` has 1 rows"),
    ],
)
def test_what_a_loss_does_not_accept_is_refused(http: FlaskClient, name: str, body: Any, found: str) -> None:
    answer = http.post(f"/api/v1/catalog/losses/{name}", json=body)

    assert answer.status_code in (404, 422), answer.text
    assert found in answer.get_data(as_text=True)


def test_every_use_is_told_in_korean(http: FlaskClient) -> None:
    page = http.get("/ui/functions", headers={"Accept-Language": "ko"}).text

    for kind in ("losses", "metrics", "activations"):
        for name, one in read_explanations(kind).items():
            assert one.use not in page, name


@pytest.mark.parametrize("name", ["relu", "heaviside", "softmax", "exponential"])
def test_an_activation_is_drawn_with_its_derivative(http: FlaskClient, name: str) -> None:
    answer = http.get(f"/api/v1/catalog/activations/{name}.svg")

    assert answer.status_code == 200
    assert answer.content_type == "image/svg+xml"
    assert name in answer.text
    assert "derivative" in answer.text


def test_entries_have_formulas_and_links(http: FlaskClient) -> None:
    losses = http.get("/api/v1/catalog/losses").json["losses"]
    metrics = http.get("/api/v1/catalog/metrics").json["metrics"]
    activations = http.get("/api/v1/catalog/activations").json["activations"]

    assert http.get("/api/v1/catalog/metrics/Recall").json in metrics
    assert http.get("/api/v1/catalog/metrics/recal").status_code == 404
    assert http.get("/api/v1/catalog/losses/huber").json in losses
    assert all(one["formula"] and one["use"] for one in (*losses, *metrics, *activations))
    assert http.get(activations[0]["picture"]).status_code == 200
    assert http.get("/api/v1/catalog/activations/glu.svg").status_code == 404
