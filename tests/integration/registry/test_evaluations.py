"""How a version did, against what scikit-learn says of the served answers."""

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.metrics import classification_report, confusion_matrix

from shared.datasets import splits
from shared.spec.dataset import DatasetSpec
from tests.support.examples import IRIS, LINE, XOR, Json, changed
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PATH = "/api/v1/models/digits/versions/1/evaluation"


def served(http: FlaskClient, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = {"instances": x[..., 0].tolist()}
    predictions = http.post("/api/v1/models/digits/predictions", json=body).json["predictions"]
    return (
        np.array([prediction["class"] for prediction in predictions]),
        np.array([prediction["probability"] for prediction in predictions]),
    )


def test_the_report_is_what_scikit_learn_says_of_the_served_answers(digits: FlaskClient) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 42, None).test  # type: ignore[arg-type]
    answered, _ = served(digits, test.array)

    evaluation = digits.get(PATH).json

    report = classification_report(test.y, answered, output_dict=True, zero_division=0)
    found = evaluation["classification"]
    assert evaluation["rows"] == 359
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert found["confusion"] == confusion_matrix(test.y, answered).tolist()
    for row in found["classes"]:
        expected = report[row["label"]]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [expected["precision"], expected["recall"], expected["f1-score"], expected["support"]]
        )
    assert found["accuracy"] < found["top_k"]["3"] < found["top_k"]["5"] <= 1
    assert 0 < found["calibration_error"] < 1
    assert evaluation["metrics"] == digits.get("/api/v1/models/digits/versions/1").json["metrics"]["test"]


def test_every_mistake_is_listed_the_surest_first(digits: FlaskClient) -> None:
    test = splits.load_dataset(DatasetSpec(name="digits"), 42, None).test  # type: ignore[arg-type]
    answered, probabilities = served(digits, test.array)
    wrong = np.flatnonzero(answered != test.y)

    pages: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        page = digits.get(f"{PATH}/mistakes?limit=20{cursor and f'&cursor={cursor}'}").json
        pages += page["mistakes"]
        cursor = page["next"]

    assert sorted(mistake["index"] for mistake in pages) == wrong.tolist()
    assert len(pages) == digits.get(PATH).json["classification"]["mistakes"]
    assert [mistake["probability"] for mistake in pages] == sorted((m["probability"] for m in pages), reverse=True)
    for mistake in pages:
        row = mistake["index"]
        assert (mistake["true"], mistake["predicted"]) == (str(test.y[row]), str(answered[row]))
        assert mistake["probability"] == pytest.approx(probabilities[row], abs=1e-5)


def test_mistakes_of_one_cell_of_the_matrix(digits: FlaskClient) -> None:
    confusion = np.array(digits.get(PATH).json["classification"]["confusion"])
    np.fill_diagonal(confusion, 0)
    true, predicted = np.unravel_index(confusion.argmax(), confusion.shape)

    found = digits.get(f"{PATH}/mistakes?true={true}&predicted={predicted}&sort=index").json["mistakes"]

    assert len(found) == confusion[true, predicted]
    assert [mistake["index"] for mistake in found] == sorted(mistake["index"] for mistake in found)
    assert {(mistake["true"], mistake["predicted"]) for mistake in found} == {(str(true), str(predicted))}


def test_a_class_that_nobody_knows_is_named(digits: FlaskClient) -> None:
    answer = digits.get(f"{PATH}/mistakes?true=eleven")

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/true"


@pytest.mark.parametrize("cursor", ["WzFd", "Wy01XQ==", "Wzk5OTk5OTk5OTld"])
def test_no_cursor_leads_astray(digits: FlaskClient, cursor: str) -> None:
    """1, -5 and 99999999999."""
    assert digits.get(f"{PATH}/mistakes?cursor={cursor}").status_code == 200


def test_two_classes_are_reported_as_two(http: FlaskClient, worker: InProcessWorker) -> None:
    spec = changed(changed(IRIS, "dataset.classes", ["setosa", "virginica"]), "training.epochs", 5)
    layers = [{"layer": "Dense", "units": 1, "activation": "sigmoid"}]
    http.post("/api/v1/jobs", json=changed(spec, "network.layers", layers))

    worker.run_all()

    report = http.get("/api/v1/models/iris/versions/1/evaluation").json["classification"]
    assert [row["label"] for row in report["classes"]] == ["setosa", "virginica"]
    assert sum(map(sum, report["confusion"])) == 20


def test_a_regression_is_measured_by_its_errors(http: FlaskClient, worker: InProcessWorker) -> None:
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
