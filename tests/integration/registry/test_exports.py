"""Test that versions are exported to other systems' formats, and that each file answers as the version does."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete

from shared.database.engine import Sessions
from shared.database.tables.registry import Alias, Version, VersionFile
from shared.spec.export import FILE_NAMES, ExportFormat
from tests.support.examples import DIGITS, IRIS, Json, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
VERSION = "/api/v1/models/digits/versions/1"
CONVOLUTION: list[Json] = [
    {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"},
    {"layer": "BatchNormalization"},
    {"layer": "Flatten"},
    {"layer": "Dense", "units": 10, "activation": "softmax"},
]
RUN_TFLITE = """
import sys, numpy as np, tensorflow as tf
run = tf.lite.Interpreter(model_path=sys.argv[1]).get_signature_runner()
np.save(sys.argv[2], run(input=np.load(sys.argv[2]))["output"])
"""


def export(http: FlaskClient, worker: InProcessWorker, wanted: str, path: str = VERSION) -> Json:
    answer = http.post(f"{path}/exports", json={"format": wanted})
    assert answer.status_code == 202, answer.text
    worker.run_all()
    job: Any = http.get(answer.headers["Location"]).json
    assert job["status"] == "succeeded", job["error"]
    return job  # type: ignore[no-any-return]


def fetch(http: FlaskClient, job: Json, folder: Path) -> Path:
    path: Path = folder / job["export"]["file"]
    path.write_bytes(http.get(job["links"]["file"]).data)
    return path


@pytest.fixture
def outputs(http: FlaskClient, worker: InProcessWorker) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Train a convolution on digits; provide inputs of its network and the outputs of the version for them."""
    train(http, worker, changed(DIGITS, "network.layers", CONVOLUTION))
    inputs = np.random.default_rng(0).uniform(0, 1, (3, *http.get(VERSION).json["signature"]["inputs"][0]["shape"][1:]))
    inputs = inputs.astype(np.float32)
    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": list(inputs.shape), "data": inputs.tolist()}]}
    answer = http.post("/v2/models/digits/infer", json=body).json["outputs"][0]
    return inputs, np.asarray(answer["data"], np.float32).reshape(answer["shape"])


@on_sqlite
def test_each_format_answers_as_the_version(
    http: FlaskClient, worker: InProcessWorker, outputs: tuple[Any, Any], tmp_path: Path
) -> None:
    inputs, expected = outputs
    pixels = np.round(inputs * 255).astype(np.uint8)
    jobs = {wanted: export(http, worker, wanted) for wanted in ExportFormat}
    paths = {wanted: fetch(http, job, tmp_path) for wanted, job in jobs.items()}

    assert all(jobs[one]["export"]["difference"] <= 1e-4 for one in ExportFormat if one is not ExportFormat.TFLITE_INT8)
    np.testing.assert_allclose(keras.models.load_model(paths[ExportFormat.H5])(inputs), expected, atol=1e-4)
    with tarfile.open(paths[ExportFormat.SAVED_MODEL]) as packed:
        packed.extractall(tmp_path / "serving", filter="data")
    served = keras.layers.TFSMLayer(tmp_path / "serving/digits/1", call_endpoint="serving_default")
    np.testing.assert_allclose(served(inputs)["output"], expected, atol=1e-4)
    np.save(tmp_path / "rows.npy", inputs)
    command = [sys.executable, "-c", RUN_TFLITE, str(paths[ExportFormat.TFLITE]), str(tmp_path / "rows.npy")]
    subprocess.run(command, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), expected, atol=1e-4)
    with tarfile.open(paths[ExportFormat.TRITON]) as packed:
        assert packed.getnames() == [
            "digits",
            "digits/1",
            "digits/1/model.onnx",
            "digits/config.pbtxt",
            "digits/labels.txt",
        ]
    session = onnxruntime.InferenceSession(paths[ExportFormat.ONNX_WITH_PREPROCESSING])
    (own,) = session.run(None, {"input": pixels})
    again = onnxruntime.InferenceSession(http.get(f"{VERSION}/files/model.onnx").data)
    np.testing.assert_allclose(own, again.run(None, {"input": pixels.astype(np.float32) / 255})[0], atol=1e-4)


@on_sqlite
@pytest.mark.usefixtures("outputs")
def test_8_bits_are_smaller_and_their_cost_is_told(http: FlaskClient, worker: InProcessWorker) -> None:
    exact, small = (export(http, worker, wanted) for wanted in ("tflite", "tflite-int8"))
    sizes = {one["format"]: one["size_bytes"] for one in http.get(f"{VERSION}/exports").json["exports"]}
    metrics = http.get(VERSION).json["metrics"]["test"]

    assert exact["export"]["test"] is None
    test = small["export"]["test"]
    assert (test["metric"], test["version"]) == ("accuracy", pytest.approx(metrics["accuracy"], abs=1e-6))
    assert abs(test["exported"] - test["version"]) < 0.05
    assert sizes["tflite-int8"] < 0.75 * sizes["tflite"]


@on_sqlite
def test_a_recurrent_network_is_exported_for_one_row(http: FlaskClient, worker: InProcessWorker) -> None:
    layers: list[Json] = [
        {"layer": "Reshape", "target_shape": [8, 8]},
        {"layer": "LSTM", "units": 4},
        {"layer": "Dense", "units": 10, "activation": "softmax"},
    ]
    train(http, worker, changed(DIGITS, "network.layers", layers))

    assert export(http, worker, "tflite")["export"]["difference"] <= 1e-4
    location = http.post(f"{VERSION}/exports", json={"format": "tflite-int8"}).headers["Location"]
    worker.run_all()
    refused = http.get(location).json  # the converter looks for the ranges of an LSTM, and ends its process
    assert refused["error"]["type"] == "/problems/export-not-possible"
    assert "its converter ended the process" in refused["error"]["detail"]


@on_sqlite
def test_what_openvino_cannot_compute_is_told(http: FlaskClient, worker: InProcessWorker) -> None:
    step = {"layer": "LSTM", "units": 4, "activation": "heaviside", "recurrent_activation": "heaviside"}
    layers: list[Json] = [
        {"layer": "Reshape", "target_shape": [8, 8]},
        step,
        {"layer": "Dense", "units": 10, "activation": "softmax"},
    ]
    train(http, worker, changed(DIGITS, "network.layers", layers))
    location = http.post(f"{VERSION}/exports", json={"format": "openvino"}).headers["Location"]
    worker.run_all()

    error = http.get(location).json["error"]
    assert error["type"] == "/problems/export-not-possible"
    assert error["detail"].startswith("The network cannot be written as openvino.tar.gz: ")


@on_sqlite
def test_rows_of_numbers_are_exported_with_their_normalisation(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    train(http, worker, changed(IRIS, "preprocessing", {"scale": "standardize"}))
    job = export(http, worker, "onnx-with-preprocessing", "/api/v1/models/iris/versions/1")
    rows = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]

    session = onnxruntime.InferenceSession(fetch(http, job, tmp_path))
    (outputs,) = session.run(None, {"input": np.asarray(rows, np.float32)})

    expected = http.post("/v1/models/iris:predict", json={"instances": rows}).json["predictions"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_an_export_is_made_once(digits: FlaskClient, worker: InProcessWorker) -> None:
    path = f"{VERSION}/exports"
    first = digits.post(path, json={"format": "triton"})
    again = digits.post(path, json={"format": "triton"})
    worker.run_all()
    afterwards = digits.post(path, json={"format": "triton"})
    listed = {one["format"]: one for one in digits.get(path).json["exports"]}

    assert (first.status_code, again.status_code, afterwards.status_code) == (202, 200, 200)
    assert first.json["id"] == again.json["id"] == afterwards.json["id"]
    assert set(listed) == set(FILE_NAMES)
    assert digits.get(listed["triton"]["path"]).status_code == 200
    assert (listed["triton"]["status"], listed["h5"]["path"], listed["h5"]["job"]) == ("succeeded", None, None)
    assert "triton.tar.gz" in [file["name"] for file in digits.get(VERSION).json["files"]]


def test_a_version_that_was_deleted_meanwhile_gets_no_file(
    digits: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    location = digits.post(f"{VERSION}/exports", json={"format": "triton"}).headers["Location"]
    with sessions.begin() as session:
        for table in (Alias, VersionFile, Version):
            session.execute(delete(table))
    worker.run_all()

    job = digits.get(location).json
    assert (job["status"], job["error"]["type"]) == ("failed", "/problems/version-unusable")


@on_sqlite
def test_what_cannot_be_exported_is_refused(digits: FlaskClient) -> None:
    path = f"{VERSION}/exports"
    assert_problem(digits.post(path, json={"format": "pmml"}), 422, "invalid-request")
    assert_problem(
        digits.post(path.replace("versions/1", "versions/7"), json={"format": "h5"}), 404, "version-not-found"
    )
    assert "Input should be 'h5'" in digits.post(path, json={"format": "pmml"}).text


def test_the_repository_of_triton_describes_its_tensors(digits: FlaskClient, worker: InProcessWorker) -> None:
    job = export(digits, worker, "triton")
    with tarfile.open(fileobj=io.BytesIO(digits.get(job["links"]["file"]).data)) as packed:
        config = packed.extractfile("digits/config.pbtxt")
        assert config is not None
        text = config.read().decode()

    assert 'name: "digits"' in text
    assert "dims: [10]" in text
    assert "max_batch_size: 64" in text
