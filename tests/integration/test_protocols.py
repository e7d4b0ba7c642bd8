"""Other systems' wire formats, by their own clients and by hand."""

import base64
import gzip
import json
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ovmsclient
import pytest
import tritonclient.http as triton
from flask import Flask
from flask.testing import FlaskClient
from huggingface_hub import InferenceClient
from tritonclient.utils import InferenceServerException
from werkzeug.serving import make_server

from api.services import EXTENSION
from shared import dataset_parts, registry
from shared.database import Sessions
from shared.training_spec import DatasetChoice
from tests.examples import DIGITS, LINE, XOR, Json
from tests.images import encoded
from tests.integration.conftest import Published, Worker

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # of the clients
]
PREDICT = "/v1/models/digits:predict"
INFER = "/v2/models/digits/infer"
INVOKE = "/models/digits/invocations"


@pytest.fixture
def digit() -> np.ndarray:
    """(8, 8, 1) uint8, a digit the network was not trained on."""
    first: np.ndarray = dataset_parts.load(DatasetChoice(name="digits"), 0, None).test.array[0]  # type: ignore[arg-type]
    return first


@pytest.fixture
def rows(digit: np.ndarray) -> np.ndarray:
    """Two of it, as the network takes them."""
    return np.stack([digit, digit]).astype(np.float32) / 255


@pytest.fixture
def http(http: FlaskClient, worker: Worker, sessions: Sessions, published: Callable[[Json], Published]) -> FlaskClient:
    """digits/1, digits/2 with the alias `best` at 1, xor/1 and line/1."""
    for spec in (DIGITS, DIGITS, XOR, LINE):
        published(spec).publish(sessions, worker.yard.artifacts)
    with sessions.begin() as session:
        registry.set_alias(session, "digits", "best", 1)
    return http


@pytest.fixture
def expected(http: FlaskClient, digit: np.ndarray) -> np.ndarray:
    """(10,), by our own protocol."""
    answer = http.post("/api/v1/models/digits/predictions?top=10", data=encoded(digit)).json
    return np.array(
        [found["probability"] for found in sorted(answer["predictions"][0]["top"], key=lambda p: p["class"])]
    )


@pytest.fixture
def server(app: Flask, http: FlaskClient) -> Iterator[str]:  # noqa: ARG001 - the models must be there
    """host:port, for clients that want a socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# TensorFlow Serving


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


def test_tf_serving_shows_status_and_metadata(http: FlaskClient) -> None:
    status = http.get("/v1/models/digits").json
    one = http.get("/v1/models/digits/labels/best").json
    metadata = http.get("/v1/models/digits/metadata").json

    ok = {"error_code": "OK", "error_message": ""}
    assert status["model_version_status"] == [
        {"version": version, "state": "AVAILABLE", "status": ok} for version in ("2", "1")
    ]
    assert (status["name"], status["ready"]) == ("digits", True)  # what KServe's client looks for
    assert [entry["version"] for entry in one["model_version_status"]] == ["1"]
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": "2"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert [side["size"] for side in signature["inputs"]["input"]["tensor_shape"]["dim"]] == ["-1", "8", "8", "1"]
    assert http.get("/v1/models").json == {"models": ["digits", "line", "xor"]}


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
        ('{"instances": [[1, [2]]]}', "takes float32 of shape [-1, 8, 8, 1]"),
        ('{"instances": [{"image": 1}]}', "The network has one input, 'input'"),
        ('{"instances": [{"b64": "%%"}]}', "Not base64"),
        ('{"instances": [{"b64": "AAAA"}]}', "not an image"),
        ('{"instances": [{"b64": "AAAA"}, 1]}', "Either all values are tensors, or all are images"),
        ('{"inputs": {"input": 1, "other": 2}}', "The network has one input, 'input'"),
    ],
)
def test_tf_serving_says_what_is_wrong_in_its_own_words(http: FlaskClient, body: str, text: str) -> None:
    answer = http.post(PREDICT, data=body)

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])
    assert text in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
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
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/v1/models/digits/versions/9", 404, "Could not find version 9 of model digits"),
        ("GET", "/v1/models/digits/labels/x", 400, "Unrecognized servable version label: x"),
    ],
)
def test_tf_serving_knows_its_paths(http: FlaskClient, method: str, path: str, status: int, text: str) -> None:
    answer = http.open(path, method=method, data='{"instances": [1]}' if method == "POST" else None)

    assert (answer.status_code, list(answer.json or {})) == (status, ["error"])
    assert text in answer.json["error"]


def test_ovmsclient_is_at_home(server: str, rows: np.ndarray, digit: np.ndarray, expected: np.ndarray) -> None:
    client = ovmsclient.make_http_client(server)

    assert np.allclose(client.predict({"input": rows}, "digits"), [expected, expected], atol=1e-4)
    assert np.allclose(client.predict({"input": [encoded(digit)]}, "digits"), [expected], atol=1e-4)
    assert client.get_model_status("digits")[2]["state"] == "AVAILABLE"
    assert client.get_model_metadata("digits")["model_spec"]["version"] == "2"


# The Open Inference Protocol


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_is_at_home(server: str, rows: np.ndarray, expected: np.ndarray, *, binary: bool) -> None:
    client = triton.InferenceServerClient(server)
    given = triton.InferInput("input", rows.shape, "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    wanted = triton.InferRequestedOutput("output", binary_data=binary)

    plain = client.infer("digits", [given])
    named = client.infer("digits", [given], model_version="1", outputs=[wanted], request_id="mine")
    packed = client.infer(
        "digits", [given], outputs=[wanted], request_compression_algorithm="gzip", response_compression_algorithm="gzip"
    )

    for result in (plain, named, packed):
        assert np.allclose(result.as_numpy("output"), [expected, expected], atol=1e-4)
    assert named.get_response()["id"] == "mine"
    assert named.get_response()["model_version"] == "1"
    client.close()


def test_tritonclient_gets_labels_and_sends_images(server: str, digit: np.ndarray, expected: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    given = triton.InferInput("input", [1], "BYTES")
    given.set_data_from_numpy(np.array([encoded(digit)], np.object_))
    wanted = triton.InferRequestedOutput("output", class_count=3)

    ((first, *rest),) = client.infer("digits", [given], outputs=[wanted]).as_numpy("output")

    value, place, label = first.decode().split(":")
    best = int(expected.argmax())
    assert (int(place), label, len(rest)) == (best, str(best), 2)
    assert float(value) == pytest.approx(expected.max(), abs=1e-4)
    client.close()


def test_tritonclient_asks_about_server_and_models(server: str, rows: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    given = triton.InferInput("input", rows.shape, "FP32")
    given.set_data_from_numpy(rows)

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert not client.is_model_ready("digits", "9")
    assert not client.is_model_ready("nobody")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 8, 8, 1]}]
    assert client.get_model_config("digits")["input"][0]["dims"] == [-1, 8, 8, 1]
    client.load_model("digits")
    client.infer("digits", [given])
    (statistics,) = client.get_inference_statistics("digits")["model_stats"]
    assert (statistics["inference_count"], statistics["execution_count"]) == (2, 1)
    assert statistics["inference_stats"]["success"]["ns"] > 0
    assert {"name": "digits", "version": "2", "state": "READY", "reason": ""} in client.get_model_repository_index()
    client.unload_model("digits")
    client.close()


def test_tritonclient_reads_what_is_wrong(server: str, rows: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    given = triton.InferInput("input", rows.shape, "FP32")
    given.set_data_from_numpy(rows)
    other = triton.InferInput("image", rows.shape, "FP32")
    other.set_data_from_numpy(rows)

    for ask, text in (
        (lambda: client.infer("nobody", [given]), "There is no model 'nobody'"),
        (lambda: client.infer("digits", [given], model_version="9"), "no version 9"),
        (lambda: client.infer("digits", [other]), "unexpected inference input 'image'"),
        (
            lambda: client.infer("digits", [given], outputs=[triton.InferRequestedOutput("labels")]),
            "unexpected inference output 'labels'",
        ),
    ):
        with pytest.raises(InferenceServerException, match=text):
            ask()  # type: ignore[no-untyped-call]
    client.close()


def of_input(**keys: Any) -> Json:
    return {"inputs": [{"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0] * 64, **keys}]}


@pytest.mark.parametrize(
    ("datatype", "code", "scale"),
    [("FP32", "<f4", 1), ("FP64", "<f8", 1), ("FP16", "<f2", 1), ("UINT8", "u1", 255), ("INT64", "<i8", 255)],
)
def test_numbers_may_be_of_any_type(http: FlaskClient, rows: np.ndarray, datatype: str, code: str, scale: int) -> None:
    """As they stand: whoever sends bytes where the network takes 0 to 1 gets what the network makes of them."""
    values = (rows[:1] * scale).astype(code)
    document = of_input(datatype=datatype, parameters={"binary_data_size": values.nbytes})
    del document["inputs"][0]["data"]
    header = json.dumps(document).encode()

    binary = http.post(
        INFER, data=header + values.tobytes(), headers={"Inference-Header-Content-Length": str(len(header))}
    )
    listed = http.post(INFER, json=of_input(datatype=datatype, data=values.ravel().tolist()))

    assert binary.status_code == listed.status_code == 200, binary.text
    assert np.allclose(binary.json["outputs"][0]["data"], listed.json["outputs"][0]["data"], atol=1e-5)


def test_bfloat16_is_understood(http: FlaskClient) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    document = of_input(datatype="BF16", parameters={"binary_data_size": len(halves)})
    header = json.dumps(document).encode()

    answer = http.post(INFER, data=header + halves, headers={"Inference-Header-Content-Length": str(len(header))})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"inputs": []},
        of_input(shape=[1, 8, 8, 2]),
        of_input(shape=[2, 8, 8, 1]),
        of_input(shape=[-1, 8, 8, 1]),
        of_input(shape="8"),
        of_input(datatype="FP33"),
        of_input(data=["x"] * 64),
        of_input(data=[[1], [1, 2]]),
        of_input(datatype="BYTES", shape=[1], data=["%%"]),
        of_input(datatype="BYTES", shape=[2], data=[""]),
        of_input(datatype="UINT8", data=[300] * 64),
        of_input(parameters={"binary_data_size": 7}),
        {**of_input(), "outputs": [{"name": "labels"}]},
        {**of_input(), "outputs": [{"name": "output", "parameters": {"classification": -1}}]},
        {**of_input(), "parameters": 7},
    ],
)
def test_what_cannot_be_inferred_is_a_bad_request(http: FlaskClient, document: Json) -> None:
    answer = http.post(INFER, json=document)

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"\xff\xfe", {}),
        (b"[]", {}),
        (b"{}", {"Inference-Header-Content-Length": "3"}),
        (b"{}", {"Inference-Header-Content-Length": "x"}),
        (b"{}", {"Content-Encoding": "br"}),
        (b"{}", {"Content-Encoding": "gzip"}),
        (gzip.compress(b"{" + b" " * 2**23), {"Content-Encoding": "gzip"}),
        (zlib.compress(b"{}")[:-3], {"Content-Encoding": "deflate"}),
        (b"[" * 100_000, {}),
    ],
)
def test_a_body_that_is_none_is_a_bad_request(http: FlaskClient, body: bytes, headers: dict[str, str]) -> None:
    answer = http.post(INFER, data=body, headers=headers)

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])


def test_elements_that_are_cut_off_are_a_bad_request(http: FlaskClient, digit: np.ndarray) -> None:
    image = encoded(digit)
    for raw in (struct.pack("<I", len(image) + 1) + image, b"\x01\x00", struct.pack("<I", 2**32 - 1)):
        document = of_input(datatype="BYTES", shape=[1], parameters={"binary_data_size": len(raw)})
        header = json.dumps(document).encode()

        answer = http.post(INFER, data=header + raw, headers={"Inference-Header-Content-Length": str(len(header))})

        assert (answer.status_code, answer.json) == (400, {"error": "The last element of BYTES is cut off."})


# MLflow, SageMaker and Hugging Face


def test_mlflow_takes_its_four_forms_and_csv(http: FlaskClient, rows: np.ndarray, expected: np.ndarray) -> None:
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


def test_an_image_may_be_the_body_or_base64(http: FlaskClient, digit: np.ndarray, expected: np.ndarray) -> None:
    png = encoded(digit)
    answers = [
        http.post(INVOKE, data=png, content_type="image/png"),
        http.post(INVOKE, data=png, content_type="application/x-image"),
        http.post(INVOKE, json={"inputs": [b64(png)]}),
        http.post(INVOKE, json={"dataframe_split": {"columns": ["image"], "data": [[b64(png)]]}}),
        http.post(INVOKE, json={"dataframe_records": [{"image": b64(png)}]}),
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
        ('{"dataframe_split": 7}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ('{"dataframe_records": [{"a": 1}, {"b": 1}]}', "application/json", 400, "INVALID_PARAMETER_VALUE"),
        ("a\nx\n", "text/csv", 400, "BAD_REQUEST"),
        ("", "image/png", 400, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_mlflow_says_what_is_wrong_in_its_own_words(
    http: FlaskClient, body: str, media_type: str, status: int, code: str
) -> None:
    answer = http.post(INVOKE, data=body, content_type=media_type)

    assert (answer.status_code, answer.json["error_code"]) == (status, code)


@pytest.mark.parametrize("media_type", ["text/plain", "application/json; charset=latin-1", "application/json; a=b", ""])
def test_mlflow_refuses_other_content(http: FlaskClient, media_type: str) -> None:
    answer = http.post(INVOKE, data="{}", content_type=media_type)

    assert (answer.status_code, answer.mimetype) == (415, "text/plain")
    assert answer.text.startswith("This predictor only supports the following content types")


def test_sagemakers_paths_are_there(app: Flask, http: FlaskClient) -> None:
    import dataclasses

    assert [(answer.status_code, answer.text) for answer in (http.get("/ping"), http.get("/health"))] == [
        (200, "\n")
    ] * 2
    assert http.get("/version").mimetype == "text/plain"
    unnamed = http.post("/invocations", json={"inputs": [[0, 1]]})
    assert (unnamed.status_code, unnamed.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "TRAINYARD_DEFAULT_MODEL" in unnamed.json["message"]

    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], default_model="xor")

    assert len(http.post("/invocations", json={"inputs": [[0, 1]]}).json["predictions"]) == 1


def test_hugging_faces_client_is_at_home(server: str, digit: np.ndarray, expected: np.ndarray) -> None:
    client = InferenceClient(token="none")

    found = client.image_classification(encoded(digit), model=f"http://{server}/models/digits")
    three = client.image_classification(encoded(digit), model=f"http://{server}/models/digits", top_k=3)

    assert [element.label for element in found[:1]] == [str(expected.argmax())]
    assert found[0].score == pytest.approx(expected.max(), abs=1e-4)
    assert (len(found), len(three)) == (10, 3)
