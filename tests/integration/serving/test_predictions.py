"""Test predictions: the forms of a request, their errors and warnings, and damaged versions."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.services import EXTENSION
from shared.database.engine import Sessions
from shared.datasets import splits
from shared.spec.dataset import DatasetSpec
from tests.support.examples import DIGITS, Json, changed
from tests.support.images import encoded, photo, png_header
from tests.support.problems import assert_problem
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADDRESS = "/api/v1/models/digits/predictions"
IRIS_ADDRESS = "/api/v1/models/iris/predictions"


@pytest.fixture
def digit() -> np.ndarray:
    """Provide the image of a digit, (8, 8, 1) uint8, that the network was not trained on."""
    first: np.ndarray = splits.load_dataset(DatasetSpec(name="digits"), 0, Path()).test.array[0]
    return first


def test_all_forms_give_the_same_answer(digits: FlaskClient, digit: np.ndarray) -> None:
    png = encoded(digit)
    b64 = base64.b64encode(png).decode()

    answers = [
        digits.post(ADDRESS, data=png, content_type="image/png"),
        digits.post(ADDRESS, data=png, content_type="application/octet-stream"),
        digits.post(
            ADDRESS, data=png, content_type="application/x-www-form-urlencoded"
        ),  # curl sends this type by default
        digits.post(ADDRESS, data=png),
        digits.post(ADDRESS, data={"file": (io.BytesIO(png), "digit.png")}),
        digits.post(ADDRESS, json={"instances": [{"b64": b64}]}),
        digits.post(ADDRESS, json={"instances": [digit.tolist()]}),
        digits.post(ADDRESS, json={"instances": [digit[..., 0].tolist()]}),
        digits.post("/api/v1/models/digits/versions/1/predictions", data=png, content_type="image/png"),
        digits.post("/api/v1/models/digits/versions/latest/predictions", data=png, content_type="image/png"),
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert len({json.dumps(answer.json, sort_keys=True) for answer in answers}) == 1
    document = answers[0].json
    assert (document["model"], document["version"], len(document["predictions"])) == ("digits", 1, 1)
    prediction = document["predictions"][0]
    assert set(prediction) == {"label", "class", "probability", "top", "warnings"}
    assert prediction["label"] == str(prediction["class"])


def make_json_body(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()


@pytest.mark.parametrize("address", [ADDRESS, "/api/v1/models/digits/versions/1/predictions"])
@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize(
    ("make_body", "media_type", "outcome"),
    [
        (bytes, "image/png", "ok"),
        (bytes, None, "ok"),
        (make_json_body, "application/json", "ok"),
        (lambda png: make_json_body(png, b"no image"), "application/json", "ok"),
        (lambda png: png[:40], "image/png", "invalid-image"),
        (lambda _: b"no image" * 10_000, "image/png", "invalid-image"),
        (lambda png: make_json_body(png)[:-1], "application/json", "malformed-request"),
        (lambda _: b'{"instances": []}', "application/json", "invalid-request"),
    ],
    ids=["image", "no media type", "JSON", "one bad image", "cut off", "no image", "malformed JSON", "no instances"],
)
def test_fast_path_and_flask_answer_alike(
    digits: FlaskClient,
    digit: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    top: int,
    make_body: Callable[[bytes], bytes],
    media_type: str | None,
    outcome: str,
    met_by_flask: list[str],
) -> None:
    monkeypatch.setattr(digits.application.extensions[EXTENSION].model_cache, "_refresh_seconds", 3600.0)

    def post(query: str) -> TestResponse:
        body = make_body(encoded(digit))
        return digits.post(f"{address}?{query}", data=body, content_type=media_type, headers={"X-Request-ID": "same"})

    first = post(f"top={top}")  # Flask loads the version
    fast = post(f"top={top}")
    by_flask = post(f"top=%3{top}")

    assert (fast.status_code, fast.json) == (by_flask.status_code, by_flask.json) == (first.status_code, first.json)
    assert sorted(fast.headers) == sorted(by_flask.headers)
    counted = (
        f'trainyard_prediction_requests_total{{model="digits",outcome="{outcome}",route="predictions",version="1"}} 3'
    )
    assert counted in digits.get("/metrics").text
    queries = [path.rpartition("?")[2] for path in met_by_flask if path.startswith(address)]
    assert queries == [f"top={top}", f"top=%3{top}"]  # the first and the last: the fast path answers the second


def test_top_limits_the_number_of_classes(digits: FlaskClient, digit: np.ndarray) -> None:
    answers = [
        digits.post(f"{ADDRESS}?top={top}", data=encoded(digit)).json["predictions"][0]["top"] for top in (1, 3, 1000)
    ]

    assert [len(answer) for answer in answers] == [1, 3, 10]
    probabilities = [entry["probability"] for entry in answers[2]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_files_are_predicted_in_their_order(digits: FlaskClient, digit: np.ndarray) -> None:
    images = [encoded(np.roll(digit, shift, axis=1)) for shift in range(5)]
    one_by_one = [digits.post(ADDRESS, data=image).json["predictions"][0] for image in images]

    together = digits.post(
        ADDRESS, data={"files": [(io.BytesIO(image), f"{n}.png") for n, image in enumerate(images)]}
    ).json

    assert [prediction["label"] for prediction in together["predictions"]] == [answer["label"] for answer in one_by_one]


def test_one_invalid_image_does_not_fail_the_others(digits: FlaskClient, digit: np.ndarray) -> None:
    files = [(io.BytesIO(encoded(digit)), "good.png"), (io.BytesIO(b"hello"), "bad.png")]

    answer = digits.post(ADDRESS, data={"files": files})

    good, bad = answer.json["predictions"]
    assert answer.status_code == 200
    assert "label" in good
    assert (bad["problem"]["type"], bad["problem"]["status"]) == ("/problems/invalid-image", 422)
    assert "bad.png" in bad["problem"]["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "detail"),
    [
        (b"", "image/png", 422, "empty"),
        (b"hello", "image/png", 422, "not an image"),
        (encoded(photo())[:-20], "image/png", 422, "PNG"),
        (encoded(photo(), "JPEG")[:-200], "image/jpeg", 422, "cut off"),
        (png_header(50_000, 50_000), "image/png", 413, "50,000 × 50,000"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 2**20, "image/png", 413, "bytes"),
        (b"x=1", "text/html", 415, "text/html"),
        (b"{", "application/json", 400, "not JSON"),
        (b"[" * 50_000, "application/json", 400, ""),
        (b'{"instances": []}', "application/json", 422, "1 to"),
        (b'{"instances": 3}', "application/json", 422, "instances"),
        (b'{"inputs": [1]}', "application/json", 422, "instances"),
        (b'{"instances": [1], "zork": 1}', "application/json", 422, "nothing else"),
        (b'{"instances": [{"b64": "@@"}]}', "application/json", 422, "instances/0: not base64"),
        (b'{"instances": [{"b64": 3}]}', "application/json", 422, "instances/0"),
        (b'{"instances": [{"b64": "aGVsbG8="}]}', "application/json", 422, "instances/0: not an image"),
        (b'{"instances": [[[1, 2], [3]]]}', "application/json", 422, "same length"),
        (b'{"instances": [[[1, 256]]]}', "application/json", 422, "0 to 255"),
        (b'{"instances": [[[1, 0.5]]]}', "application/json", 422, "0 to 255"),
        (b'{"instances": [[[1, NaN]]]}', "application/json", 422, "finite"),
        (b'{"instances": [[[1, 1e999]]]}', "application/json", 422, "finite"),
        (b'{"instances": [[[1, 99999999999999999999999]]]}', "application/json", 422, "numbers"),
        (b'{"instances": [[["a", "b"]]]}', "application/json", 422, "there is a string"),
        (b'{"instances": [["' + b"x" * 2**20 + b'"' + b', ""' * 2**17 + b"]]}", "application/json", 422, "a string"),
        (b'{"instances": [null]}', "application/json", 422, "there is null"),
        (b'{"instances": [[[]]]}', "application/json", 422, "instances/0"),
        (b'{"instances": [[[[1, 2]]]]}', "application/json", 422, "channels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_request_is_answered_with_a_problem(
    digits: FlaskClient, body: bytes, content_type: str, status: int, detail: str
) -> None:
    answer = digits.post(ADDRESS, data=body, content_type=content_type)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    assert detail in answer.json["detail"]


def test_a_form_without_files_is_refused(digits: FlaskClient) -> None:
    assert digits.post(ADDRESS, data={"a": "b"}, content_type="multipart/form-data").status_code == 422


def test_rows_of_numbers_are_predicted(iris: FlaskClient) -> None:
    answer = iris.post(IRIS_ADDRESS, json={"instances": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}).json

    assert [prediction["label"] for prediction in answer["predictions"]] == ["setosa", "virginica"]


@pytest.mark.parametrize(
    "instance", [[1, 2, 3], [1, 2, 3, "x"], [[1, 2, 3, 4]], 7, [1, 2, 3, 1e39], {"a": 1}, "text", True]
)
def test_rows_of_another_shape_are_refused(iris: FlaskClient, instance: object) -> None:
    answer = iris.post(IRIS_ADDRESS, json={"instances": [instance]})

    assert answer.status_code == 422
    assert "instances/0" in answer.json["detail"]


def test_a_version_that_takes_numbers_refuses_an_image(iris: FlaskClient) -> None:
    answer = iris.post(IRIS_ADDRESS, data=encoded(photo()))

    assert answer.status_code == 422
    assert "this version takes numbers of shape [4], not an image. Send JSON" in answer.json["detail"]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("/api/v1/models/nope/predictions", "model-not-found"),
        ("/api/v1/models/nope/versions/1/predictions", "model-not-found"),
        ("/api/v1/models/digits/versions/2/predictions", "version-not-found"),
        ("/api/v1/models/digits/versions/0/predictions", "version-not-found"),
        ("/api/v1/models/digits/versions/999999999999999999999/predictions", "version-not-found"),
        ("/api/v1/models/digits/versions/staging/predictions", "version-not-found"),
    ],
)
def test_an_unknown_model_or_version_is_not_found(digits: FlaskClient, address: str, kind: str) -> None:
    answer = digits.post(address, data=encoded(photo()))

    assert (answer.status_code, answer.json["type"]) == (404, f"/problems/{kind}")


def test_predictions_use_production_else_the_latest_version(
    digits: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    published: Callable[[Json], PublishedVersion],
    digit: np.ndarray,
) -> None:
    published(DIGITS).publish(sessions, worker.context.artifacts)
    served = [digits.post(ADDRESS, data=encoded(digit)).json["version"]]

    digits.put("/api/v1/models/digits/aliases/production", json={"version": 1})
    served.append(digits.post(ADDRESS, data=encoded(digit)).json["version"])

    digits.delete("/api/v1/models/digits/aliases/production")
    served.append(digits.post(ADDRESS, data=encoded(digit)).json["version"])

    assert served == [2, 1, 2]


def test_an_undamaged_version_passes_its_self_test(digits: FlaskClient) -> None:
    result = digits.get("/api/v1/models/digits/versions/latest/self-test").json

    assert result["passed"] is True
    assert result["difference"] <= 1e-4
    assert (result["model"], result["version"], result["samples"], result["detail"]) == ("digits", 1, 8, None)


@pytest.mark.parametrize(
    ("shape", "value", "warning"),
    [
        ((8, 8), 200, "The image is blank: all its pixels are about the same."),
        ((8, 40), None, "The image is 40 × 8 and was squeezed to 8 × 8: `fit: pad` keeps its ratio."),
        ((4, 3), None, "The image is only 3 × 4, and the network takes 8 × 8. Send a larger image."),
        ((9, 17), None, None),
    ],
)
def test_an_unusual_image_is_predicted_with_a_warning(
    digits: FlaskClient, shape: tuple[int, int], value: int | None, warning: str | None
) -> None:
    image = np.full((*shape, 3), value, np.uint8) if value is not None else photo(*shape)

    (prediction,) = digits.post(ADDRESS, data=encoded(image)).json["predictions"]

    found = [found for found in list_image_warnings(prediction) if "dark on light" not in found]
    assert found == ([warning] if warning is not None else [])


def list_image_warnings(prediction: Json) -> list[str]:
    """Return the warnings, except the one about a low probability."""
    return [warning for warning in prediction["warnings"] if not warning.startswith("The probability")]


def test_a_digit_dark_on_light_is_predicted_with_a_warning(digits: FlaskClient, digit: np.ndarray) -> None:
    original, inverted = (
        digits.post(ADDRESS, json={"instances": [image.tolist()]}).json["predictions"][0]
        for image in (digit, 255 - digit)
    )

    assert list_image_warnings(original) == []
    (warning,) = list_image_warnings(inverted)
    assert warning.startswith("The image is dark on light, and the version was trained on light on dark")


def test_a_probability_below_the_threshold_gives_a_warning(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    spec = {**changed(DIGITS, "dataset.validation", "test"), "model": "doubtful"}
    published(spec).publish(sessions, worker.context.artifacts)
    threshold = http.get("/api/v1/models/doubtful/versions/1").json["confidence_threshold"]
    noise = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)

    predictions = http.post("/api/v1/models/doubtful/predictions", json={"instances": noise.tolist()}).json[
        "predictions"
    ]

    assert 0 < threshold < 1
    for prediction in predictions:
        warns = any(warning.startswith("The probability is below") for warning in prediction["warnings"])
        assert warns == (prediction["probability"] < threshold)
    assert len({len(prediction["warnings"]) for prediction in predictions}) > 1


def test_a_version_with_a_damaged_file_is_not_served(digits: FlaskClient, tmp_path: Path, digit: np.ndarray) -> None:
    files = {file["name"]: file["sha256"] for file in digits.get("/api/v1/models/digits/versions/1").json["files"]}
    (tmp_path / "artifacts" / files["model.onnx"][:2] / files["model.onnx"]).write_bytes(b"")

    answer = digits.post(ADDRESS, data=encoded(digit))

    assert_problem(answer, 500, "artifact-damaged")
    result = digits.get("/api/v1/models/digits/versions/1/self-test").json
    assert (result["passed"], result["difference"]) == (False, None)
    assert "damaged" in result["detail"]


def test_a_version_that_fails_its_golden_samples_is_not_served(
    digits: FlaskClient, worker: InProcessWorker, sessions: Sessions, tmp_path: Path, digit: np.ndarray
) -> None:
    from shared.registry import versions
    from shared.storage import tracked_files

    path = tmp_path / "version.json"
    description = json.loads(digits.get("/api/v1/models/digits/versions/1/files/version.json").data)
    description["preprocessing"]["normalisation"]["divisor"] = [100.0]
    path.write_text(json.dumps(description))
    (stored,) = tracked_files.store(sessions, worker.context.artifacts, [path])
    with sessions.begin() as session:
        versions.get_file(versions.get_version(session, "digits", "1"), "version.json").sha256 = stored.sha256

    answer = digits.post(ADDRESS, data=encoded(digit))

    assert_problem(answer, 500, "version-not-servable")
    assert "golden samples" in answer.json["detail"]
    result = digits.get("/api/v1/models/digits/versions/1/self-test").json
    assert (result["passed"], result["samples"], result["tolerance"]) == (False, 8, 1e-4)
    assert result["difference"] > 1e-4
    assert "golden samples" in result["detail"]
