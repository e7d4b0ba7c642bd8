"""Test TensorFlow Serving's REST API, also through one of its clients."""

import base64
import json

import numpy as np
import ovmsclient
import pytest
from flask.testing import FlaskClient

from tests.support.images import encoded

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # from the clients
]
PREDICT = "/v1/models/digits:predict"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("path", ["", "/versions/2", "/labels/best", "/versions/0"])
def test_tf_serving_predicts_by_rows_and_columns(
    http: FlaskClient, rows: np.ndarray, digit: np.ndarray, expected: np.ndarray, path: str
) -> None:
    image = {"b64": b64(encoded(digit))}
    for body, key in (
        ({"instances": rows.tolist()}, "predictions"),
        ({"instances": [{"input": row.tolist()} for row in rows]}, "predictions"),
        ({"instances": [image, image]}, "predictions"),
        ({"instances": [{"input": image}, {"input": image}], "signature_name": "serving_default"}, "predictions"),
        ({"inputs": rows.tolist()}, "outputs"),
        ({"inputs": {"input": rows.tolist()}}, "outputs"),
        ({"inputs": [image, image]}, "outputs"),
        ({"inputs": {"input": [image, image]}}, "outputs"),
    ):
        answer = http.post(f"/v1/models/digits{path}:predict", data=json.dumps(body))  # with no Content-Type

        assert answer.status_code == 200, answer.text
        assert answer.headers["Trainyard-Version"] == ("digits/1" if path == "/labels/best" else "digits/2")
        assert np.allclose(answer.json[key], [expected, expected], atol=1e-4)
        assert list(answer.json or {}) == [key]


def test_tf_serving_classifies_and_regresses(http: FlaskClient, digit: np.ndarray, expected: np.ndarray) -> None:
    image = {"b64": b64(encoded(digit))}

    (scores,) = http.post("/v1/models/digits:classify", json={"examples": [{"input": image}]}).json["results"]
    two = http.post("/v1/models/xor:classify", json={"examples": [{"input": [0, 1]}]}).json["results"]
    line = http.post("/v1/models/line:regress", json={"examples": [{"input": [10]}, {"input": [20]}]}).json["results"]

    assert [label for label, _ in scores] == list("0123456789")
    assert np.allclose([score for _, score in scores], expected, atol=1e-4)
    assert [label for label, _ in two[0]] == ["0", "1"]
    assert line == pytest.approx([8.6667, 16.1667], rel=0.01)


@pytest.mark.parametrize(
    ("verb", "key", "value", "found"),
    [
        ("xor:predict", "instances", "[[NaN, 1]]", {"predictions": [[pytest.approx(np.nan, nan_ok=True)]]}),
        ("line:predict", "inputs", "[[Infinity]]", {"outputs": [[np.inf]]}),
        ("line:regress", "examples", '[{"input": [-Infinity]}]', {"results": [-np.inf]}),
    ],
)
def test_tf_serving_reads_and_writes_nan_and_infinity(
    http: FlaskClient, verb: str, key: str, value: str, found: dict[str, object]
) -> None:
    answer = http.post(f"/v1/models/{verb}", data=f'{{"{key}": {value}}}')

    assert (answer.status_code, json.loads(answer.text)) == (200, found)


def test_tf_serving_paths_ignore_case(http: FlaskClient) -> None:
    for path in ("/V1/Models/xor:Predict", "/v1/MODELS/xor/VERSIONS/1:predict"):
        assert http.post(path, json={"instances": [[0, 1]]}).status_code == 200
    assert http.get("/V1/models/xor/Metadata").status_code == 200


def test_tf_serving_shows_status_and_metadata(http: FlaskClient) -> None:
    status = http.get("/v1/models/digits").json
    one = http.get("/v1/models/digits/labels/best").json
    metadata = http.get("/v1/models/digits/metadata").json

    ok = {"error_code": "OK", "error_message": ""}
    assert status["model_version_status"] == [
        {"version": version, "state": "AVAILABLE", "status": ok} for version in ("2", "1")
    ]
    assert (status["name"], status["ready"]) == ("digits", True)  # KServe's client reads these two keys
    assert [entry["version"] for entry in one["model_version_status"]] == ["1"]
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": "2"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert [dimension["size"] for dimension in signature["inputs"]["input"]["tensor_shape"]["dim"]] == [
        "-1",
        "8",
        "8",
        "1",
    ]
    assert http.get("/v1/models").json == {"models": ["digits", "line", "xor"]}
    assert {name: found["model_version_status"] for name, found in http.get("/v1/config").get_json().items()} == {
        name: [{"version": version, "state": "AVAILABLE", "status": ok}]
        for name, version in (("digits", "2"), ("line", "1"), ("xor", "1"))
    }


def test_the_root_and_the_metrics_are_where_clients_expect_them(http: FlaskClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

    assert [http.get("/", headers={"Accept": accept}).json for accept in ("*/*", "application/json")] == [
        {"status": "alive"}
    ] * 2
    assert (http.get("/").json, http.get("/", headers=browser).location) == ({"status": "alive"}, "/ui/")
    assert http.get("/monitoring/prometheus/metrics").mimetype == http.get("/metrics").mimetype == "text/plain"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("{", "JSON Parse error: Invalid value. at offset: 1"),
        ("[1]", "is not object"),
        ('{"signature_name": 1, "instances": [1]}', "'signature_name' key must be a string value."),
        ('{"signature_name": "x", "instances": [1]}', 'Serving signature name: "x" not found in signature def'),
        ('{"foo": 1}', "Missing 'inputs' or 'instances' key"),
        ('{"inputs": 1, "instances": 1}', "expecting only one of 'inputs' or 'instances' keys to exist"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": ["x"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
        ('{"instances": [[1, 2]]}', "takes float32 of shape [-1, 8, 8, 1]"),
        ('{"instances": [[1, [2]]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"instances": [[1, 2], [1]]}', "Encountered list at unexpected size: 1 at level: 0 expected size: 2"),
        ('{"inputs": [[1, 2], [1]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"instances": [[1, [2]]]}', "takes float32 of shape [-1, 8, 8, 1]"),
        ('{"instances": [[]]}', "takes float32 of shape [-1, 8, 8, 1]"),
        ('{"instances": [[null]]}', "takes float32 of shape [-1, 8, 8, 1]"),
        ('{"instances": [{"image": 1}]}', "The network has one input, 'input'"),
        ('{"instances": [{"b64": "%%"}]}', "image 0: not base64"),
        ('{"instances": [{"b64": "AAAA"}]}', "not an image"),
        ('{"instances": [{"b64": "AAAA"}, 1]}', "Either all values are tensors, or all are images"),
        ('{"inputs": {"input": 1, "other": 2}}', "The network has one input, 'input'"),
    ],
)
def test_tf_serving_errors_have_the_original_words(http: FlaskClient, body: str, text: str) -> None:
    answer = http.post(PREDICT, data=body)

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])
    assert text in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("GET", "/V1/foo", 400, "Malformed request: GET /V1/foo"),
        ("POST", "/v1/models", 400, "Malformed request: POST /v1/models"),
        ("GET", "/v1/models/digits/foo", 400, "Malformed request: GET /v1/models/digits/foo"),
        ("GET", "/v1/models/digits/versions/1/labels/x", 400, "Malformed request"),
        ("GET", "/v1/models/digits:predict", 400, "Malformed request"),
        ("POST", "/v1/models/digits/metadata", 400, "Malformed request"),
        ("POST", "/v1/models/digits", 400, "Malformed request"),
        ("POST", "/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("POST", "/v1/models/digits/versions/50:predict", 404, "Servable not found for request: Specific(digits, 50)"),
        ("POST", "/v1/models/digits/labels/x:predict", 400, "Unrecognized servable version label: x"),
        (
            "POST",
            "/v1/models/digits/versions/18446744073709551615:predict",
            400,
            "Failed to convert version: 18446744073709551615 to numeric.",
        ),
        (
            "POST",
            f"/v1/models/digits/versions/{'9' * 5000}:predict",
            400,
            f"Failed to convert version: {'9' * 100} to numeric.",
        ),
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/v1/models/digits/versions/9", 404, "Could not find version 9 of model digits"),
        ("GET", "/v1/models/digits/labels/x", 400, "Unrecognized servable version label: x"),
    ],
)
def test_tf_serving_errors_of_paths_have_the_original_words(
    http: FlaskClient, method: str, path: str, status: int, text: str
) -> None:
    answer = http.open(path, method=method, data='{"instances": [1]}' if method == "POST" else None)

    assert (answer.status_code, list(answer.json or {})) == (status, ["error"])
    assert text in answer.json["error"]


def test_ovmsclient_gets_predictions_and_metadata(
    server: str, rows: np.ndarray, digit: np.ndarray, expected: np.ndarray
) -> None:
    client = ovmsclient.make_http_client(server)

    assert np.allclose(client.predict({"input": rows}, "digits"), [expected, expected], atol=1e-4)
    assert np.allclose(client.predict({"input": [encoded(digit)]}, "digits"), [expected], atol=1e-4)
    assert client.get_model_status("digits")[2]["state"] == "AVAILABLE"
    assert client.get_model_metadata("digits")["model_spec"]["version"] == "2"
