"""Measure predictions over HTTP relative to a bare loop that decodes, resizes and runs the network."""

import http.client
import io
import json
import statistics
import struct
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
import psutil
from ruamel.yaml import YAML

from tests.support.clients import await_end, submit
from tests.support.examples import Json
from tests.support.stacks import ROOT, LocalStack

SIDE = 32
REQUESTS = 1200
WARM_UP = 100
CONNECTIONS = (1, 16)
IMAGES_PER_REQUEST = 32
BATCH_IMAGES = 20_000
MIB = 2**20


def measure_serving(stack: LocalStack) -> None:
    """Train a network, then print CPU time, latency and memory for each request, image and number of connections."""
    job = await_end(stack.http, submit(stack.http, _build_spec()))
    assert job["status"] == "succeeded", job["error"]
    network = stack.http.get(f"/api/v1/models/{job['model']}/versions/latest/files/model.onnx").content
    predict = _make_bare_loop(network)
    for name, image in (("PNG 32×32", _make_png()), ("JPEG 640×480", _make_jpeg())):
        bare = _measure_cpu(lambda image=image: predict(image))  # type: ignore[misc]
        print(f"{name}, {len(image) / 1000:.0f} kB, bare loop: {1000 * bare:.2f} CPU-ms")
        for request in _build_requests(job["model"], image):
            for connections in CONNECTIONS:
                _measure_server(stack, f"{name}, {request.name}", request, connections, bare)
    _measure_batch(stack, job["model"], predict)


def _build_spec() -> Json:
    """Build a spec with the CNN of the recipe (570,000 parameters) and a bundled data set: accuracy does not matter."""
    spec: Json = YAML(typ="safe").load((ROOT / "recipes" / "cifar10-cnn.yaml").read_text())
    return {
        **spec,
        "model": "served",
        "dataset": {"name": "digits", "limit": 200},
        "preprocessing": {"size": [SIDE, SIDE], "color": "rgb"},
        "training": {**spec["training"], "epochs": 1},
    }


class _Request(NamedTuple):
    name: str
    path: str
    body: bytes
    headers: dict[str, str]
    images: int = 1


def _build_requests(model: str, image: bytes) -> Iterator[_Request]:
    """Yield requests with one image and many by our own API, and with one image by other protocols."""
    ours, b64 = f"/api/v1/models/{model}/predictions", b64encode(image).decode()
    in_json = {"Content-Type": "application/json"}
    many = json.dumps({"instances": [{"b64": b64}] * IMAGES_PER_REQUEST}).encode()
    yield _Request("1 a request", ours, image, {"Content-Type": "application/octet-stream"})
    yield _Request(f"{IMAGES_PER_REQUEST} a request", ours, many, in_json, IMAGES_PER_REQUEST)
    size = {"binary_data_size": len(image) + 4}
    given = {"name": "input", "shape": [1], "datatype": "BYTES", "parameters": size}
    header = json.dumps({"inputs": [given]}).encode()
    binary, length = struct.pack("<I", len(image)) + image, {"Inference-Header-Content-Length": str(len(header))}
    yield _Request("as Triton's client asks", f"/v2/models/{model}/infer", header + binary, length)
    rows = json.dumps({"instances": [{"b64": b64}]}).encode()
    yield _Request("as TensorFlow Serving's", f"/v1/models/{model}:predict", rows, in_json)
    yield _Request("as MLflow's", f"/models/{model}/invocations", rows, in_json)


def _measure_server(stack: LocalStack, name: str, request: _Request, connections: int, bare: float) -> None:
    requests = max(connections * 4, REQUESTS // request.images)
    seconds: list[float] = []

    def send_requests(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port)
        for _ in range(count):
            started_at = time.perf_counter()
            connection.request("POST", request.path, request.body, request.headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            seconds.append(time.perf_counter() - started_at)

    send_requests(max(1, WARM_UP // request.images))
    seconds.clear()
    process = find_server_process(stack)
    before = sum(process.cpu_times()[:2])
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(send_requests, [requests // connections] * connections))
    cpu = (sum(process.cpu_times()[:2]) - before) / (len(seconds) * request.images)
    p50, p99 = (1000 * statistics.quantiles(seconds, n=100)[rank - 1] for rank in (50, 99))
    print(
        f"{name}, {connections} connections: {1000 * cpu:.2f} CPU-ms an image, "
        f"{cpu / bare:.2f} × the bare loop; p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"{process.memory_full_info().uss / MIB:.0f} MiB"
    )


def _measure_batch(stack: LocalStack, model: str, predict: Callable[[bytes], object]) -> None:
    """Print the time of a batch job on a zip file of PNGs, relative to the bare loop on the same images."""
    images = [_make_png(seed) for seed in range(BATCH_IMAGES)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index, image in enumerate(images):
            archive.writestr(f"{index:05}.png", image)
    started_at = time.perf_counter()
    for image in images:
        predict(image)
    bare = time.perf_counter() - started_at
    answer = stack.http.post(f"/api/v1/models/{model}/batch-predictions", files={"file": packed.getvalue()})
    job = await_end(stack.http, answer.raise_for_status().json())
    assert job["status"] == "succeeded", job["error"]
    started, ended = (datetime.fromisoformat(job[when]) for when in ("started_at", "ended_at"))
    seconds = (ended - started).total_seconds()
    print(
        f"batch of {BATCH_IMAGES:,} PNGs: {seconds:.1f} s, {BATCH_IMAGES / seconds:,.0f} images a second, "
        f"{bare / seconds:.2f} × the bare loop on one thread"
    )


def find_server_process(stack: LocalStack) -> psutil.Process:
    """Return the process that answers requests: the child of the main process of granian."""
    parent = stack.program("api")
    (process,) = [child for child in parent.children() if "planning" not in " ".join(child.cmdline())]
    return process


def _make_bare_loop(network: bytes) -> Callable[[bytes], object]:
    """Return a function that decodes an image at full scale, resizes it and runs ONNX, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    cv2.setNumThreads(1)
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(image: bytes) -> object:
        pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return session.run(None, {name: np.divide(pixels[np.newaxis], 255, dtype=np.float32)})

    return predict


def _measure_cpu(predict: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, the minimum of three series."""
    for _ in range(WARM_UP):
        predict()
    return min(_measure_cpu_of_series(predict) for _ in range(3))


def _measure_cpu_of_series(predict: Callable[[], object]) -> float:
    started_at = time.process_time()
    for _ in range(REQUESTS):
        predict()
    return (time.process_time() - started_at) / REQUESTS


def _make_png(seed: int = 0) -> bytes:
    return bytes(cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1])


def _make_jpeg() -> bytes:
    """Encode a smooth image with noise: its file is about as large as that of a photo, 90 kB."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    noise = np.random.default_rng(1).normal(0, 8, (480, 640, 3))
    photo = np.clip(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + noise, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])
