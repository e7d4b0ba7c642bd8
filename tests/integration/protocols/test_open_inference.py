"""Test the Open Inference Protocol with Triton's extensions, also through Triton's client."""

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from flask.testing import FlaskClient
from tritonclient.utils import InferenceServerException

from tests.support.examples import Json
from tests.support.images import encoded

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # from the clients
]
INFER = "/v2/models/digits/infer"


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_gets_predictions(server: str, rows: np.ndarray, expected: np.ndarray, *, binary: bool) -> None:
    client = triton.InferenceServerClient(server)
    tensor = triton.InferInput("input", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    output = triton.InferRequestedOutput("output", binary_data=binary)

    plain = client.infer("digits", [tensor])
    named = client.infer("digits", [tensor], model_version="1", outputs=[output], request_id="mine")
    packed = client.infer(
        "digits",
        [tensor],
        outputs=[output],
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )

    for result in (plain, named, packed):
        assert np.allclose(result.as_numpy("output"), [expected, expected], atol=1e-4)
    assert named.get_response()["id"] == "mine"
    assert named.get_response()["model_version"] == "1"
    client.close()


def test_tritonclient_gets_labels_and_sends_images(server: str, digit: np.ndarray, expected: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    tensor = triton.InferInput("input", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([encoded(digit)], np.object_))
    output = triton.InferRequestedOutput("output", class_count=3)

    ((first, *rest),) = client.infer("digits", [tensor], outputs=[output]).as_numpy("output")

    value, index, label = first.decode().split(":")
    best = int(expected.argmax())
    assert (int(index), label, len(rest)) == (best, str(best), 2)
    assert float(value) == pytest.approx(expected.max(), abs=1e-4)
    client.close()


def test_tritonclient_reads_health_metadata_and_statistics(server: str, rows: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    tensor = triton.InferInput("input", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)

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
    client.infer("digits", [tensor])
    (statistics,) = client.get_inference_statistics("digits")["model_stats"]
    assert (statistics["inference_count"], statistics["execution_count"]) == (2, 1)
    assert statistics["inference_stats"]["success"]["ns"] > 0
    assert {"name": "digits", "version": "2", "state": "READY", "reason": ""} in client.get_model_repository_index()
    client.unload_model("digits")
    client.close()


def test_tritonclient_gets_the_error_messages(server: str, rows: np.ndarray) -> None:
    client = triton.InferenceServerClient(server)
    tensor = triton.InferInput("input", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    other = triton.InferInput("image", rows.shape, "FP32")
    other.set_data_from_numpy(rows)

    for ask, text in (
        (lambda: client.infer("nobody", [tensor]), "There is no model 'nobody'"),
        (lambda: client.infer("digits", [tensor], model_version="9"), "no version 9"),
        (lambda: client.infer("digits", [other]), "unexpected inference input 'image'"),
        (
            lambda: client.infer("digits", [tensor], outputs=[triton.InferRequestedOutput("labels")]),
            "unexpected inference output 'labels'",
        ),
    ):
        with pytest.raises(InferenceServerException, match=text):
            ask()  # type: ignore[no-untyped-call]
    client.close()


def make_request(**keys: Any) -> Json:
    """Return an inference request with one FP32 tensor of zeros, of which `keys` replace some."""
    return {"inputs": [{"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0] * 64, **keys}]}


@pytest.mark.parametrize(
    ("datatype", "code", "scale"),
    [("FP32", "<f4", 1), ("FP64", "<f8", 1), ("FP16", "<f2", 1), ("UINT8", "u1", 255)],
)
def test_tensors_of_every_numeric_type_are_accepted(
    http: FlaskClient, rows: np.ndarray, datatype: str, code: str, scale: int
) -> None:
    """Compare a binary tensor with the same numbers in JSON."""
    values = (rows[:1] * scale).astype(code)
    document = make_request(datatype=datatype, parameters={"binary_data_size": values.nbytes})
    del document["inputs"][0]["data"]
    header = json.dumps(document).encode()

    binary = http.post(
        INFER, data=header + values.tobytes(), headers={"Inference-Header-Content-Length": str(len(header))}
    )
    listed = http.post(INFER, json=make_request(datatype=datatype, data=values.ravel().tolist()))

    assert binary.status_code == listed.status_code == 200, binary.text
    assert np.allclose(binary.json["outputs"][0]["data"], listed.json["outputs"][0]["data"], atol=1e-5)


def test_a_bfloat16_tensor_is_accepted(http: FlaskClient) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32)
    upper_halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    document = make_request(datatype="BF16", parameters={"binary_data_size": len(upper_halves)})
    header = json.dumps(document).encode()

    answer = http.post(INFER, data=header + upper_halves, headers={"Inference-Header-Content-Length": str(len(header))})

    assert answer.status_code == 200, answer.text


def test_the_error_for_a_wrong_tensor_names_type_and_shape(http: FlaskClient) -> None:
    for document in (
        make_request(data=["x"] * 64),
        make_request(shape=[1, 8, 8, 2]),
        make_request(datatype="UINT8", data=[0.5]),
    ):
        assert "takes float32 of shape [-1, 8, 8, 1]" in http.post(INFER, json=document).json["error"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"inputs": []},
        make_request(shape=[1, 8, 8, 2]),
        make_request(shape=[2, 8, 8, 1]),
        make_request(shape=[-1, 8, 8, 1]),
        make_request(shape="8"),
        make_request(datatype="FP33"),
        make_request(data=["x"] * 64),
        make_request(data=["1"] * 64),
        make_request(data=[None] * 64),
        make_request(data=[10**400] * 64),
        make_request(datatype="UINT8", data=[0.5] * 64),
        make_request(parameters=[1]),
        make_request(data=[[1], [1, 2]]),
        make_request(datatype="BYTES", shape=[1], data=["%%"]),
        make_request(datatype="BYTES", shape=[2], data=[""]),
        make_request(datatype="UINT8", data=[300] * 64),
        make_request(parameters={"binary_data_size": 7}),
        {**make_request(), "outputs": [{"name": "labels"}]},
        {**make_request(), "outputs": [{"name": "output", "parameters": {"classification": -1}}]},
        {**make_request(), "parameters": 7},
    ],
)
def test_an_invalid_inference_request_is_a_bad_request(http: FlaskClient, document: Json) -> None:
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
        (gzip.compress(b"{" + b" " * 2**23, mtime=0), {"Content-Encoding": "gzip"}),
        (zlib.compress(b"{}")[:-3], {"Content-Encoding": "deflate"}),
        (b"[" * 100_000, {}),
        (b'{"id": "\\ud800"}', {}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_body_is_a_bad_request(http: FlaskClient, body: bytes, headers: dict[str, str]) -> None:
    answer = http.post(INFER, data=body, headers=headers)

    assert (answer.status_code, list(answer.json or {})) == (400, ["error"])


def test_a_bytes_element_that_is_cut_off_is_a_bad_request(http: FlaskClient, digit: np.ndarray) -> None:
    image = encoded(digit)
    for raw in (struct.pack("<I", len(image) + 1) + image, b"\x01\x00", struct.pack("<I", 2**32 - 1)):
        document = make_request(datatype="BYTES", shape=[1], parameters={"binary_data_size": len(raw)})
        header = json.dumps(document).encode()

        answer = http.post(INFER, data=header + raw, headers={"Inference-Header-Content-Length": str(len(header))})

        assert (answer.status_code, answer.json) == (400, {"error": "The last element of BYTES is cut off."})


def test_an_unloaded_model_is_unavailable_until_it_is_loaded_and_keeps_its_statistics(
    http: FlaskClient, rows: np.ndarray
) -> None:
    def find_state() -> str:
        index: Any = http.post("/v2/repository/index", json={}).json
        return str(next(row["state"] for row in index if row["name"] == "digits"))

    def count_inferences() -> int:
        (statistics,) = http.get("/v2/models/digits/stats").json["model_stats"]
        return int(statistics["inference_count"])

    body = make_request(data=rows[:1].ravel().tolist())
    http.post(INFER, json=body)
    before = count_inferences()
    http.post("/v2/repository/models/digits/unload")
    ready = http.get("/v2/models/digits/ready")
    status = http.get("/v1/models/digits/versions/2").json["model_version_status"][0]["state"]

    assert (find_state(), ready.status_code, status) == ("UNAVAILABLE", 503, "END")
    assert count_inferences() == before
    assert find_state() == "UNAVAILABLE"
    http.post("/v2/repository/models/digits/load")
    assert (find_state(), http.get("/v2/models/digits/ready").status_code) == ("READY", 200)
    http.post("/v2/repository/models/digits/unload")
    http.post(INFER, json=body)
    assert (find_state(), count_inferences()) == ("READY", before + 1)
    assert http.post("/v2/repository/models/nobody/unload").status_code == 404
