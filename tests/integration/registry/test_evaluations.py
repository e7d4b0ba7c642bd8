"""Test the evaluation of a version against scikit-learn, which is given the served predictions."""

import json

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.metrics import classification_report, confusion_matrix
from sqlalchemy import delete

from shared.database.engine import Sessions
from shared.database.tables.registry import VersionFile
from shared.datasets import splits
from shared.registry.evaluation import ROWS_FILE
from shared.spec.dataset import DatasetSpec
from tests.support.examples import IRIS, LINE, XOR, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import upload_dataset
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PATH = "/api/v1/models/digits/versions/1/evaluation"


def predict(http: FlaskClient, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the served classes (n,) int and their probabilities (n,) float for images (n, 8, 8, 1) uint8."""
    body = {"instances": x[..., 0].tolist()}
    predictions = http.post("/api/v1/models/digits/predictions", json=body).json["predictions"]
    return (
        np.array([prediction["class"] for prediction in predictions]),
        np.array([prediction["probability"] for prediction in predictions]),
    )


def read_png(content: bytes) -> np.ndarray:
    """Decode a gray PNG to (height, width) uint8."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


def test_the_report_equals_that_of_scikit_learn(digits: FlaskClient) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 42, None).test  # type: ignore[arg-type]
    predicted, _ = predict(digits, test.array)

    evaluation = digits.get(PATH).json

    report = classification_report(test.y, predicted, output_dict=True, zero_division=0)
    found = evaluation["classification"]
    assert evaluation["rows"] == 359
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert found["confusion"] == confusion_matrix(test.y, predicted).tolist()
    for row in found["classes"]:
        expected = report[row["label"]]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [expected["precision"], expected["recall"], expected["f1-score"], expected["support"]]
        )
    assert found["accuracy"] < found["top_k"]["3"] < found["top_k"]["5"] <= 1
    assert 0 < found["calibration_error"] < 1
    assert evaluation["metrics"] == digits.get("/api/v1/models/digits/versions/1").json["metrics"]["test"]


def test_every_mistake_is_listed_the_most_probable_first(digits: FlaskClient) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 42, None).test  # type: ignore[arg-type]
    predicted, probabilities = predict(digits, test.array)
    wrong = np.flatnonzero(predicted != test.y)

    mistakes: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        page = digits.get(f"{PATH}/mistakes?limit=20{cursor and f'&cursor={cursor}'}").json
        mistakes += page["mistakes"]
        cursor = page["next"]

    assert sorted(mistake["index"] for mistake in mistakes) == wrong.tolist()
    assert len(mistakes) == digits.get(PATH).json["classification"]["mistakes"]
    assert [mistake["probability"] for mistake in mistakes] == sorted(
        (m["probability"] for m in mistakes), reverse=True
    )
    for mistake in mistakes:
        row = mistake["index"]
        assert (mistake["true"], mistake["predicted"]) == (str(test.y[row]), str(predicted[row]))
        assert mistake["probability"] == pytest.approx(probabilities[row], abs=1e-5)


def test_mistakes_are_filtered_by_true_and_predicted_class(digits: FlaskClient) -> None:
    confusion = np.array(digits.get(PATH).json["classification"]["confusion"])
    np.fill_diagonal(confusion, 0)
    true, predicted = np.unravel_index(confusion.argmax(), confusion.shape)

    found = digits.get(f"{PATH}/mistakes?true={true}&predicted={predicted}&sort=index").json["mistakes"]

    assert len(found) == confusion[true, predicted]
    assert [mistake["index"] for mistake in found] == sorted(mistake["index"] for mistake in found)
    assert {(mistake["true"], mistake["predicted"]) for mistake in found} == {(str(true), str(predicted))}


def test_an_unknown_class_is_refused(digits: FlaskClient) -> None:
    answer = digits.get(f"{PATH}/mistakes?true=eleven")

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/true"


@pytest.mark.parametrize("cursor", ["WzFd", "Wzk5OTk5OTk5XQ=="], ids=["1", "99999999"])
def test_a_cursor_with_any_position_is_accepted(digits: FlaskClient, cursor: str) -> None:
    assert digits.get(f"{PATH}/mistakes?cursor={cursor}").status_code == 200


@pytest.mark.parametrize("cursor", ["Wy01XQ==", "Wzk5OTk5OTk5OTld"], ids=["-5", "9999999999"])
def test_a_forged_position_is_refused(digits: FlaskClient, cursor: str) -> None:
    assert digits.get(f"{PATH}/mistakes?cursor={cursor}").status_code == 422


def test_a_network_with_one_output_is_reported_with_two_classes(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(changed(IRIS, "dataset.classes", ["setosa", "virginica"]), "training.epochs", 5)
    layers = [{"layer": "Dense", "units": 1, "activation": "sigmoid"}]
    http.post("/api/v1/jobs", json=changed(spec, "network.layers", layers))

    worker.run_all()

    report = http.get("/api/v1/models/iris/versions/1/evaluation").json["classification"]
    assert [row["label"] for row in report["classes"]] == ["setosa", "virginica"]
    assert sum(map(sum, report["confusion"])) == 20


def test_a_regression_is_evaluated_by_its_errors(http: FlaskClient, worker: InProcessWorker) -> None:
    line = {"x": [[n] for n in range(20)], "y": [0.5 * n + 1 for n in range(20)]}
    http.post("/api/v1/jobs", json=changed(LINE, "dataset", {"inline": line, "test": {"split": 0.25}}))

    worker.run_all()

    evaluation = http.get("/api/v1/models/line/versions/1/evaluation").json
    assert evaluation["classification"] is None
    assert evaluation["rows"] == 5
    assert evaluation["regression"]["r2"] > 0.99
    assert evaluation["regression"]["mae"] == pytest.approx(evaluation["metrics"]["mean_absolute_error"], rel=1e-4)
    assert http.get("/api/v1/models/line/versions/1/evaluation/mistakes").status_code == 404


def test_a_version_without_test_rows_has_no_evaluation(http: FlaskClient, worker: InProcessWorker) -> None:
    http.post("/api/v1/jobs", json=XOR)

    worker.run_all()

    answer = http.get("/api/v1/models/xor/versions/1/evaluation")
    assert_problem(answer, 404, "evaluation-not-found")


def test_the_rows_of_a_cell_are_listed_with_their_images(digits: FlaskClient) -> None:
    confusion = np.array(digits.get(PATH).json["classification"]["confusion"])
    true, predicted = np.unravel_index(np.argmax(confusion - np.diag(np.diag(confusion))), confusion.shape)

    cell = digits.get(f"{PATH}/rows?true={true}&predicted={predicted}&sort=confidence").json
    doubtful = digits.get(f"{PATH}/rows?right=true&true=3&sort=doubt&limit=2").json
    everything = digits.get(f"{PATH}/rows?limit=200").json

    assert (cell["total"], len(cell["rows"]), everything["total"]) == (confusion[true, predicted],) * 2 + (359,)
    assert all(not row["right"] and row["image"] for row in cell["rows"])
    assert [row["probability"] for row in doubtful["rows"]] == sorted(row["probability"] for row in doubtful["rows"])
    assert all(row["image"] for row in doubtful["rows"])
    assert [row["index"] for row in everything["rows"]] == list(range(200))
    following = digits.get(f"{PATH}/rows?limit=200&cursor={everything['next']}").json
    assert [row["index"] for row in following["rows"]] == list(range(200, 359))
    assert digits.get(f"{PATH}/rows?true=cat").status_code == 422


def test_an_image_of_a_test_row_is_a_tile(digits: FlaskClient) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 42, None).test  # type: ignore[arg-type]
    path = digits.get(f"{PATH}/rows").json["rows"][3]["image"]

    tile, large = digits.get(path), digits.get(f"{path}?side=24")

    assert np.array_equal(read_png(tile.data), test.array[3][..., 0])
    assert np.array_equal(read_png(large.data), test.array[3][..., 0].repeat(3, 0).repeat(3, 1))
    assert tile.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert digits.get(path, headers={"If-None-Match": tile.headers["ETag"]}).status_code == 304
    moving = digits.get(path.replace("versions/1", "versions/latest"))
    assert (moving.status_code, moving.headers["Cache-Control"]) == (200, "no-cache")
    missing = [row["index"] for row in digits.get(f"{PATH}/rows?limit=200").json["rows"] if row["image"] is None]
    assert_problem(digits.get(f"{PATH}/rows/{missing[0]}.png"), 404, "file-not-found")
    assert_problem(digits.get(f"{PATH}/rows/100000.png"), 404, "file-not-found")
    assert digits.get(f"{path}?side=4000").status_code == 422


def test_the_calibration_bins_sum_up_to_the_error(digits: FlaskClient) -> None:
    calibration, report = digits.get(f"{PATH}/calibration").json, digits.get(PATH).json["classification"]

    filled = [one for one in calibration["bins"] if one["rows"]]
    error = sum(one["rows"] / 359 * abs(one["accuracy"] - one["confidence"]) for one in filled)
    assert error == pytest.approx(report["calibration_error"]) == calibration["calibration_error"]
    assert sum(one["rows"] for one in filled) == 359
    assert all(one["from"] <= one["confidence"] <= one["to"] for one in filled)
    assert sum(one["accuracy"] * one["rows"] for one in filled) / 359 == pytest.approx(report["accuracy"])


def test_the_rows_of_a_table_are_listed_with_their_cells(http: FlaskClient, worker: InProcessWorker) -> None:
    places = ("서울", "부산", "대구")
    rows = [
        f"{age / 10},{places[age % 3]},{'yes' if age % 2 else 'no'},{'old' if age > 40 else 'young'}"
        for age in range(80)
    ]
    columns = {"place": "one-hot"}
    upload_dataset(http, "\n".join(["age,place,ill,kind", *rows]).encode(), "people", columns=json.dumps(columns))
    spec = changed(changed(IRIS, "dataset", {"name": "people", "test": {"split": 0.5}}), "network.layers.1.units", 2)
    job = train(http, worker, {**changed(spec, "training.epochs", 2), "model": "people"})

    found = http.get("/api/v1/models/people/versions/1/evaluation/rows").json["rows"]

    assert job["status"] == "succeeded"
    assert len(found) == 40
    sent = {tuple(row.split(",")) for row in rows}
    shown = [row for row in found if row["values"] is not None]
    assert len(shown) >= 32
    assert all(row["image"] is None for row in found)
    assert {(f"{age:g}", place, ill, row["true"]) for row in shown for age, place, ill in [row["values"]]} <= {
        (f"{float(age):g}", *rest) for age, *rest in sent
    }
    again = http.post("/api/v1/models/people/predictions", json={"instances": [row["values"] for row in shown]}).json
    assert [one["label"] for one in again["predictions"]] == [row["predicted"] for row in shown]
    page = http.get(f"/ui/models/people/try?version=1&row={shown[0]['index']}").text
    assert shown[0]["true"] in page
    assert all(f'"{value:g}"' in page for value in shown[0]["values"] if not isinstance(value, str))
    assert http.get("/ui/models/people/try?row=100000").status_code == 200
    assert places[1] in http.get("/ui/models/people/versions/1/evaluation?true=old&predicted=old").text + (
        http.get("/ui/models/people/versions/1/evaluation?true=young&predicted=young").text
    )


def test_a_version_of_an_earlier_release_keeps_no_rows_of_a_table(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    train(http, worker, changed(IRIS, "dataset.test", {"split": 0.3}))
    with sessions.begin() as session:
        session.execute(delete(VersionFile).where(VersionFile.name == ROWS_FILE))

    rows = http.get("/api/v1/models/iris/versions/1/evaluation/rows").json["rows"]

    assert {row["values"] for row in rows} == {None}
    assert http.get("/ui/models/iris/versions/1/evaluation?true=setosa&predicted=setosa").status_code == 200
    assert http.get("/ui/models/iris/try?row=3").status_code == 200
