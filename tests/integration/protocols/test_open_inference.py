"""The Open Inference Protocol with Triton's extensions, and Triton's client."""

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
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # of the clients
]
INFER = "/v2/models/digits/infer"


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

    value, index, label = first.decode().split(":")
    best = int(expected.argmax())
    assert (int(index), label, len(rest)) == (best, str(best), 2)
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


def test_a_tensor_that_cannot_be_is_told_what_is_expected(http: FlaskClient) -> None:
    for document in (of_input(data=["x"] * 64), of_input(shape=[1, 8, 8, 2]), of_input(datatype="UINT8", data=[0.5])):
        assert "takes float32 of shape [-1, 8, 8, 1]" in http.post(INFER, json=document).json["error"]


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
        of_input(data=["1"] * 64),
        of_input(data=[None] * 64),
        of_input(data=[10**400] * 64),
        of_input(datatype="UINT8", data=[0.5] * 64),
        of_input(parameters=[1]),
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
        (b'{"id": "\\ud800"}', {}),
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
