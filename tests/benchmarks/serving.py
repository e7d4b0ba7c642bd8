"""What a prediction over HTTP costs beside the work itself: decoding, resizing and the network, in a bare loop."""

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
MANY = 32
BATCH = 20_000
MIB = 2**20


def measure_serving(stack: LocalStack) -> None:
    job = await_end(stack.http, submit(stack.http, _spec()))
    assert job["status"] == "succeeded", job["error"]
    network = stack.http.get(f"/api/v1/models/{job['model']}/versions/latest/files/model.onnx").content
    one = _bare_loop(network)
    for name, image in (("PNG 32×32", _png()), ("JPEG 640×480", _jpeg())):
        bare = _cpu_of(lambda image=image: one(image))  # type: ignore[misc]
        print(f"{name}, {len(image) / 1000:.0f} kB, bare loop: {1000 * bare:.2f} CPU-ms")
        for question in _questions(job["model"], image):
            for connections in CONNECTIONS:
                _measure_server(stack, f"{name}, {question.name}", question, connections, bare)
    _measure_batch(stack, job["model"], one)


def _spec() -> Json:
    """The CNN of the recipe, 570,000 parameters, on data that are always there; what it answers is of no matter."""
    spec: Json = YAML(typ="safe").load((ROOT / "recipes" / "cifar10-cnn.yaml").read_text())
    return {
        **spec,
        "model": "served",
        "dataset": {"name": "digits", "limit": 200},
        "preprocessing": {"size": [SIDE, SIDE], "color": "rgb"},
        "training": {**spec["training"], "epochs": 1},
    }


class _Question(NamedTuple):
    name: str
    path: str
    body: bytes
    headers: dict[str, str]
    images: int = 1


def _questions(model: str, image: bytes) -> Iterator[_Question]:
    """One image and many in our own language, and one in those of others."""
    ours, b64 = f"/api/v1/models/{model}/predictions", b64encode(image).decode()
    in_json = {"Content-Type": "application/json"}
    many = json.dumps({"instances": [{"b64": b64}] * MANY}).encode()
    yield _Question("1 a request", ours, image, {"Content-Type": "application/octet-stream"})
    yield _Question(f"{MANY} a request", ours, many, in_json, MANY)
    size = {"binary_data_size": len(image) + 4}
    given = {"name": "input", "shape": [1], "datatype": "BYTES", "parameters": size}
    header = json.dumps({"inputs": [given]}).encode()
    binary, length = struct.pack("<I", len(image)) + image, {"Inference-Header-Content-Length": str(len(header))}
    yield _Question("as Triton's client asks", f"/v2/models/{model}/infer", header + binary, length)
    rows = json.dumps({"instances": [{"b64": b64}]}).encode()
    yield _Question("as TensorFlow Serving's", f"/v1/models/{model}:predict", rows, in_json)
    yield _Question("as MLflow's", f"/models/{model}/invocations", rows, in_json)


def _measure_server(stack: LocalStack, name: str, question: _Question, connections: int, bare: float) -> None:
    requests = max(connections * 4, REQUESTS // question.images)
    seconds: list[float] = []

    def ask(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port)
        for _ in range(count):
            began = time.perf_counter()
            connection.request("POST", question.path, question.body, question.headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            seconds.append(time.perf_counter() - began)

    ask(max(1, WARM_UP // question.images))
    seconds.clear()
    process = _server(stack)
    before = sum(process.cpu_times()[:2])
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(ask, [requests // connections] * connections))
    cpu = (sum(process.cpu_times()[:2]) - before) / (len(seconds) * question.images)
    p50, p99 = (1000 * statistics.quantiles(seconds, n=100)[rank - 1] for rank in (50, 99))
    print(
        f"{name}, {connections} connections: {1000 * cpu:.2f} CPU-ms an image, "
        f"{cpu / bare:.2f} × the bare loop; p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"{process.memory_full_info().uss / MIB:.0f} MiB"
    )


def _measure_batch(stack: LocalStack, model: str, one: Callable[[bytes], object]) -> None:
    """A zip of PNGs as a job, from its start to its end, beside the same images in the bare loop."""
    images = [_png(seed) for seed in range(BATCH)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index, image in enumerate(images):
            archive.writestr(f"{index:05}.png", image)
    began = time.perf_counter()
    for image in images:
        one(image)
    bare = time.perf_counter() - began
    answer = stack.http.post(f"/api/v1/models/{model}/batch-predictions", files={"file": packed.getvalue()})
    job = await_end(stack.http, answer.raise_for_status().json())
    assert job["status"] == "succeeded", job["error"]
    started, ended = (datetime.fromisoformat(job[when]) for when in ("started_at", "ended_at"))
    seconds = (ended - started).total_seconds()
    print(
        f"batch of {BATCH:,} PNGs: {seconds:.1f} s, {BATCH / seconds:,.0f} images a second, "
        f"{bare / seconds:.2f} × the bare loop on one thread"
    )


def _server(stack: LocalStack) -> psutil.Process:
    """The process that answers: the one below granian's own."""
    parent = stack.program("api")
    (process,) = [child for child in parent.children() if "planning" not in " ".join(child.cmdline())]
    return process


def _bare_loop(network: bytes) -> Callable[[bytes], object]:
    """What there is to do for an image, on one thread: decode at full scale, resize, run ONNX."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    cv2.setNumThreads(1)
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def one(image: bytes) -> object:
        pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return session.run(None, {name: np.divide(pixels[np.newaxis], 255, dtype=np.float32)})

    return one


def _cpu_of(one: Callable[[], object]) -> float:
    """CPU seconds, the least of three series."""
    for _ in range(WARM_UP):
        one()
    return min(_cpu_of_series(one) for _ in range(3))


def _cpu_of_series(one: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        one()
    return (time.process_time() - began) / REQUESTS


def _png(seed: int = 0) -> bytes:
    return bytes(cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1])


def _jpeg() -> bytes:
    """As large as a photo of its size, about 90 kB."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    noise = np.random.default_rng(1).normal(0, 8, (480, 640, 3))
    photo = np.clip(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + noise, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])
