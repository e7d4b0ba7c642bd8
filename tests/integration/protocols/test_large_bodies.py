"""Test that large JSON and CSV, which a child process parses, are answered like small ones."""

import json
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.http.reading import body_reader
from api.http.reading.json_arrays import MAX_LOOSE_VALUES, MIN_NUMBERS
from api.protocols.tensors import MAX_INPUT_NUMBERS, predict_numbers
from api.services import EXTENSION, Services
from shared.errors import RequestTooLarge
from tests.support.examples import IRIS, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, upload_dataset
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1))
ROWS = (PIXELS / 255).astype(np.float32).astype(float)
PAIRS = [[n % 2, n // 2 % 2] for n in range(MIN_NUMBERS)]
REST, TF, OIP, MLFLOW = (
    "/api/v1/models/{}/predictions",
    "/v1/models/{}:predict",
    "/v2/models/{}/infer",
    "/models/{}/invocations",
)


def tensor(data: Any, datatype: str = "FP32", shape: tuple[int, ...] = (70, 8, 8, 1)) -> dict[str, Any]:
    return {"inputs": [{"name": "input", "shape": shape, "datatype": datatype, "data": data}]}


def changed_row(rows: np.ndarray, value: object) -> list[Any]:
    """Return the rows as lists, with one of their numbers replaced."""
    lists: list[Any] = rows.tolist()
    lists[3][2][1] = value
    return lists


REQUESTS: list[tuple[str, str, Any]] = [
    (REST, "digits", {"instances": PIXELS.tolist()}),
    (REST, "digits", {"instances": [*PIXELS.tolist(), {"b64": "x"}, [[1, 2], [3]]]}),
    (REST, "digits", {"instances": changed_row(PIXELS, [300])}),
    (REST, "digits", {"instances": changed_row(PIXELS, [0.5])}),
    (REST, "digits", {"instances": changed_row(PIXELS, [None])}),
    (REST, "digits", {"instances": changed_row(PIXELS, [1, 2])}),
    (REST, "digits", {"instances": list(range(MIN_NUMBERS))}),
    (REST, "xor", {"instances": PAIRS}),
    (TF, "digits", {"instances": ROWS.tolist()}),
    (TF, "digits", {"instances": [{"input": row} for row in ROWS.tolist()]}),
    (TF, "digits", {"inputs": ROWS.tolist()}),
    (TF, "digits", {"inputs": {"input": ROWS.tolist()}}),
    (TF, "digits", {"instances": ROWS[:, :7].tolist()}),
    (TF, "digits", {"instances": changed_row(ROWS, [True])}),
    (TF, "digits", {"instances": changed_row(ROWS, [10**30])}),
    (TF, "digits", {"instances": changed_row(ROWS, [float("nan")])}),
    (TF, "digits", {"instances": 5}),
    (TF.replace("predict", "classify"), "digits", {"examples": ROWS.tolist()}),
    (OIP, "digits", tensor(ROWS.tolist())),
    (OIP, "digits", tensor(ROWS.ravel().tolist())),
    (OIP, "digits", tensor(PIXELS.tolist(), "INT64")),
    (OIP, "digits", tensor(ROWS.tolist(), "INT64")),
    (OIP, "digits", tensor(changed_row(PIXELS, [300]), "UINT8")),
    (OIP, "digits", tensor(changed_row(PIXELS, [-1]), "UINT8")),
    (OIP, "digits", tensor(changed_row(PIXELS, [2**70]), "UINT64")),
    (OIP, "digits", tensor(ROWS.tolist(), shape=(71, 8, 8, 1))),
    (MLFLOW, "digits", {"instances": ROWS.tolist()}),
    (MLFLOW, "digits", {"inputs": {"input": ROWS.tolist()}}),
    (MLFLOW, "xor", {"dataframe_split": {"columns": ["a", "b"], "data": PAIRS}}),
    (MLFLOW, "xor", {"dataframe_split": {"data": PAIRS}}),
    (MLFLOW, "xor", {"dataframe_records": [{"a": a, "b": b} for a, b in PAIRS]}),
    (MLFLOW, "xor", {"dataframe_split": {"data": [*PAIRS, [1]]}}),
    (MLFLOW, "shapes", {"inputs": {"height": list(range(MIN_NUMBERS)), "width": [0.5] * MIN_NUMBERS}}),
    (MLFLOW, "shapes", {"dataframe_split": {"columns": ["height", "width"], "data": PAIRS}}),
    (MLFLOW, "shapes", {"dataframe_split": {"columns": ["height", "length"], "data": PAIRS}}),
]


TABLES = (
    "a,b\n" + "0,1\n1,1\n" * 40,
    "b,a\n0,1\n",
    "\ufeffa,b\r\n\r\n0,1\r\n",
    "a,b\n0,1,2\n",
    "a,b\n0,1\n1\n",
    "a,b\n0,x\n",
    "a,b\n",
    "",
    '"a\n","b"\n"0",1\n',
)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child process parse all JSON."""
    monkeypatch.setattr(body_reader, "MAX_BYTES_HERE", -1)
    monkeypatch.setattr(body_reader, "MAX_SLOW_BYTES_HERE", -1)


def test_the_process_changes_no_answer(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_dataset(http, TABLE.encode(), "shapes")
    spec = changed(changed(IRIS, "model", "shapes"), "dataset.name", "shapes")
    train(http, worker, changed(spec, "network.layers.1.units", 2))

    def answer_all() -> list[tuple[int, Any]]:
        answers = []
        for path, model, body in REQUESTS:
            headers = {"Content-Type": "application/json", "X-Request-ID": "same"}
            answer = http.post(path.format(model), data=json.dumps(body), headers=headers)
            answers.append((answer.status_code, {**(answer.json or {}), "id": "same"}))
        return answers

    here = answer_all()
    monkeypatch.setattr(body_reader, "MAX_BYTES_HERE", -1)
    monkeypatch.setattr(body_reader, "MAX_SLOW_BYTES_HERE", -1)
    there = answer_all()

    for request, expected, found in zip(REQUESTS, here, there, strict=True):
        assert found == expected, str(request)[:300]
    assert {status for status, _ in here} >= {200, 400, 422}


def test_the_process_reads_csv_alike(http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_all() -> list[tuple[int, str]]:
        answers = [http.post("/models/xor/invocations", data=table, content_type="text/csv") for table in TABLES]
        return [(answer.status_code, answer.text) for answer in answers]

    here = answer_all()
    monkeypatch.setattr(body_reader, "MAX_CSV_BYTES_HERE", -1)

    assert answer_all() == here
    assert [status for status, _ in here] == [200, 200, 200, 400, 400, 400, 400, 400, 200]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"instances": [1, 2', "malformed-request", 400),
        ('{"instances": [1], "instances": [2]}', "malformed-request", 400),
        ('{"instances": ' + "[" * 100_000, "malformed-request", 400),
        (json.dumps({"instances": [["x"] * 1000] * (MAX_LOOSE_VALUES // 1000 + 1)}), "request-too-large", 413),
    ],
)
@pytest.mark.usefixtures("in_process")
def test_the_process_refuses_what_it_cannot_read(http: FlaskClient, body: str, kind: str, status: int) -> None:
    answer = http.post("/api/v1/models/digits/predictions", data=body, content_type="application/json")

    assert_problem(answer, status, kind)


@pytest.mark.usefixtures("in_process")
def test_malformed_json_has_a_position_in_tf_serving(http: FlaskClient) -> None:
    answer = http.post("/v1/models/digits:predict", data='{"instances": [1, 2,, 3]}')

    assert (answer.status_code, answer.json) == (400, {"error": "JSON Parse error: Invalid value. at offset: 20"})


def test_a_small_body_cannot_ask_for_a_large_response(http: FlaskClient) -> None:
    rows = 300_000
    given = {"name": "input", "shape": [rows, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 2 * rows}}
    head = json.dumps({"inputs": [given]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}

    answer = http.post("/v2/models/xor/infer", data=head + bytes(2 * rows), headers=headers)

    assert answer.status_code == 400
    assert "300,000 numbers; the limit is 250,000" in answer.json["error"]


def test_a_tensor_has_a_limit_of_numbers(http: FlaskClient, app: Flask) -> None:
    services: Services = app.extensions[EXTENSION]
    http.post("/v2/models/xor/infer", json=tensor([[0, 1]], shape=(1, 2)))
    servable = services.model_cache.get("xor")

    with pytest.raises(RequestTooLarge, match="8,388,610 numbers; the limit is 8,388,608"):
        predict_numbers(services.predictor, servable, np.zeros((MAX_INPUT_NUMBERS // 2 + 1, 2), np.uint8))


def test_images_in_base64_are_parsed_without_the_process(app: Flask, http: FlaskClient) -> None:
    services: Services = app.extensions[EXTENSION]
    services.bodies.close()
    body = json.dumps({"instances": [{"b64": "A" * 2**21}]})

    answer = http.post("/api/v1/models/digits/predictions", data=body, content_type="application/json")

    assert_problem(answer, 413, "image-too-large")
