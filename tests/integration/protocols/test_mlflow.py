"""Test the protocols of MLflow, SageMaker and Hugging Face, also through their clients."""

import base64
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from flask import Flask
from flask.testing import FlaskClient
from huggingface_hub import InferenceClient
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from sklearn.datasets import load_iris

import api.protocols.parquet
from api.services import EXTENSION
from api.serving.batching import DynamicBatcher
from tests.support.examples import IRIS, changed
from tests.support.images import encoded
from tests.support.uploads import parquet
from tests.support.worker import InProcessWorker

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # from the clients
]
PARQUET = "application/vnd.apache.parquet"
INVOKE = "/models/digits/invocations"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_mlflow_accepts_four_json_formats_and_csv(http: FlaskClient, rows: np.ndarray, expected: np.ndarray) -> None:
    xor = [[0.0, 1.0], [1.0, 1.0]]
    plain = http.post("/models/xor/invocations", json={"inputs": xor}).json
    for body in (
        {"instances": xor},
        {"inputs": {"input": xor}, "params": {"a": 1}, "signature_name": "x"},
        {"dataframe_split": {"columns": ["a", "b"], "data": xor}},
        {"dataframe_records": [{"a": 0, "b": 1}, {"a": 1, "b": 1}]},
    ):
        assert http.post("/models/xor@1/invocations", json=body).json == plain
    csv = http.post("/models/xor@latest/invocations", data="a,b\n0,1\n1,1\n", content_type="text/csv; charset=utf-8")
    digits = http.post(INVOKE, json={"inputs": rows.tolist()})

    assert csv.json == plain
    assert csv.headers["Trainyard-Version"] == "xor/1"
    assert np.allclose(digits.json["predictions"], [expected, expected], atol=1e-4)


@pytest.fixture
def flowers(http: FlaskClient, worker: InProcessWorker) -> FlaskClient:
    """Provide the client, with the model `flowers` of a table with columns a to d. It also answers at /invocations."""
    data = load_iris()
    content = pd.DataFrame(data.data, columns=list("abcd")).assign(kind=data.target).to_csv(index=False).encode()
    http.post("/api/v1/datasets", data={"name": "flowers", "file": (io.BytesIO(content), "a.csv")})
    http.post("/api/v1/jobs", json={**changed(IRIS, "dataset.name", "flowers"), "model": "flowers"})
    worker.run_all()
    app = http.application
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], default_model="flowers")
    return http


def test_columns_are_matched_by_name(flowers: FlaskClient) -> None:
    plain = flowers.post("/invocations", json={"inputs": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}).json
    assert flowers.get("/api/v1/models/flowers/versions/1").json["columns"] == ["a", "b", "c", "d"]

    reordered = pd.DataFrame({"d": [0.2, 2.3], "e": ["x", "y"], "c": [1.4, 5.2], "b": [3.5, 3.0], "a": [5.1, 6.7]})
    numbers = {name: reordered[name].to_numpy() for name in "dcba"}
    answers = [
        flowers.post("/invocations", json={"dataframe_split": reordered.to_dict(orient="split")}),
        flowers.post("/invocations", json={"dataframe_records": reordered.to_dict(orient="records")}),
        flowers.post("/invocations", json={"inputs": reordered.to_dict(orient="list")}),
        flowers.post("/invocations", data=reordered.to_csv(index=False), content_type="text/csv"),
        flowers.post("/invocations", data=parquet(e=[b"x", b"y"], **numbers), content_type=PARQUET),
    ]
    missing = flowers.post("/invocations", json={"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}})

    for answer in answers:
        assert answer.json == plain, answer.text
    assert (missing.status_code, "['c', 'd'] are missing" in missing.json["message"]) == (400, True)


def test_the_mlflow_client_gets_predictions_and_errors(flowers: FlaskClient, server: str) -> None:
    host, port = server.split(":")
    client = ScoringServerClient(host, port)
    frame = pd.DataFrame({"d": [0.2], "c": [1.4], "b": [3.5], "a": [5.1]})
    plain = flowers.post("/invocations", json={"inputs": [[5.1, 3.5, 1.4, 0.2]]}).json["predictions"]

    client.wait_server_ready()
    answers = [client.invoke(frame), client.invoke(np.array([[5.1, 3.5, 1.4, 0.2]]), params={"a": 1})]

    assert client.get_version() == flowers.get("/version").text
    for answer in answers:
        assert np.allclose(answer.get_predictions(), plain, atol=1e-6)
    with pytest.raises(Exception, match="SCHEMA_ENFORCEMENT_FAILED"):
        client.invoke(np.array([[1.0, 2.0]]))


def test_an_image_may_be_the_body_or_base64(http: FlaskClient, digit: np.ndarray, expected: np.ndarray) -> None:
    png = encoded(digit)
    answers = [
        http.post(INVOKE, data=png, content_type="image/png"),
        http.post(INVOKE, data=png, content_type="application/x-image"),
        http.post(INVOKE, json={"inputs": [b64(png)]}),
        http.post(INVOKE, json={"inputs": b64(png)}),
        http.post(INVOKE, json={"instances": [{"b64": b64(png)}], "parameters": {}}),
        http.post(INVOKE, json={"instances": [{"image": {"b64": b64(png)}}]}),
        http.post(INVOKE, json={"dataframe_split": {"columns": ["image"], "data": [[b64(png)]]}}),
        http.post(INVOKE, json={"dataframe_records": [{"image": b64(png)}]}),
        http.post(INVOKE, data=parquet(image=[png]), content_type=PARQUET),
    ]

    for answer in answers:
        assert np.allclose(answer.json["predictions"], [expected], atol=1e-4), answer.text


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        ('{"inputs": [[1]], "instances": [[1]]}', "application/json", 400, "BAD_REQUEST"),
        ("{}", "application/json", 400, "BAD_REQUEST"),
        ("[1]", "application/json", 400, "BAD_REQUEST"),
        ("{", "application/json", 400, "BAD_REQUEST"),
        ('{"inputs": [[1, 2]]}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ('{"inputs": 7}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ('{"inputs": [[null]]}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        (f'{{"inputs": [[1{"0" * 400}]]}}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ('{"dataframe_split": 7}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ('{"dataframe_records": [{"a": 1}, {"b": 1}]}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ("a\nx\n", "text/csv", 400, "BAD_REQUEST"),
        ("", "image/png", 400, "INVALID_PARAMETER_VALUE"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mlflow_errors_have_the_original_codes(
    http: FlaskClient, body: str, media_type: str, status: int, code: str
) -> None:
    answer = http.post(INVOKE, data=body, content_type=media_type)

    assert (answer.status_code, answer.json["error_code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cannot be read"),
        (b"PAR1" * 9, "cannot be read"),
        (parquet(a=np.array([1.0]), b=np.array([2.0]))[:-6], "cannot be read"),
        (parquet(a=np.zeros(1_000_000)), "more than 4,194,304 bytes of JSON"),
        (parquet(a=np.array([1.0])), "takes float32 of shape [-1, 2]"),
    ],
    ids=["empty", "not parquet", "cut off", "expands too far", "other columns"],
)
def test_invalid_or_too_large_parquet_is_refused(http: FlaskClient, body: bytes, message: str) -> None:
    answer = http.post("/models/xor/invocations", data=body, content_type=PARQUET)

    assert (answer.status_code, message in answer.json["message"]) == (400, True), answer.text


def test_parquet_is_refused_while_no_reader_is_free(http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.protocols.parquet, "_batcher", DynamicBatcher(0, 0, 0, print))

    answer = http.post("/models/xor/invocations", data=parquet(a=np.zeros(1), b=np.zeros(1)), content_type=PARQUET)

    assert (answer.status_code, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


@pytest.mark.parametrize("media_type", ["text/plain", "application/json; charset=latin-1", "application/json; a=b", ""])
def test_mlflow_refuses_other_content_types(http: FlaskClient, media_type: str) -> None:
    answer = http.post(INVOKE, data="{}", content_type=media_type)

    assert (answer.status_code, answer.mimetype) == (415, "text/plain")
    assert answer.text.startswith("This predictor only supports the following content types")


def test_the_paths_of_sagemaker_answer(app: Flask, http: FlaskClient) -> None:
    assert [(answer.status_code, answer.text) for answer in (http.get("/ping"), http.get("/health"))] == [
        (200, "\n")
    ] * 2
    assert http.get("/version").mimetype == "text/plain"
    unnamed = http.post("/invocations", json={"inputs": [[0, 1]]})
    assert (unnamed.status_code, unnamed.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "TRAINYARD_DEFAULT_MODEL" in unnamed.json["message"]

    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], default_model="xor")

    assert len(http.post("/invocations", json={"inputs": [[0, 1]]}).json["predictions"]) == 1


def test_the_hugging_face_client_classifies_images(server: str, digit: np.ndarray, expected: np.ndarray) -> None:
    client = InferenceClient(token="none")

    found = client.image_classification(encoded(digit), model=f"http://{server}/models/digits")
    three = client.image_classification(encoded(digit), model=f"http://{server}/models/digits", top_k=3)

    assert [element.label for element in found[:1]] == [str(expected.argmax())]
    assert found[0].score == pytest.approx(expected.max(), abs=1e-4)
    assert (len(found), len(three)) == (10, 3)


@pytest.mark.parametrize("path", ["/models/digits@", "/models/digits@/invocations"])
def test_an_empty_alias_is_unknown(http: FlaskClient, digit: np.ndarray, path: str) -> None:
    assert http.post(path, data=encoded(digit), content_type="image/png").status_code == 404
