"""Generate hostile requests to a model named `target`, the same in each run."""

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.support.images import encoded, photo, png_header
from tests.support.uploads import parquet

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MUTATIONS = 60
BYTES, JSON, YAML = "application/octet-stream", "application/json", "application/yaml"
PARQUET = "application/vnd.apache.parquet"
PREDICTIONS = "/api/v1/models/target/predictions"
KEYS = ("instances", "inputs", "dataframe_split", "dataframe_records", "examples", "dataset", "foo")
VALUES: tuple[Any, ...] = (
    None,
    1,
    "a",
    [],
    [[]],
    [[1, [2]]],
    [{"b64": "!"}],
    [{"b64": ""}],
    {"b64": "AAAA"},
    {"columns": [[]], "data": 3},
    [{"name": "input", "shape": [-1], "datatype": "FP32", "data": [1]}],
    [{"name": "input", "shape": [2**62, 2**62], "datatype": "FP32", "data": [1]}],
    [{"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
    [{"name": "input", "shape": [1], "datatype": "XX", "data": [{}]}],
)


DEPTH = 950
DEEP = "as deep as it can be read"
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    2**63,
    10**400,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"b64": 7},
    {"a": None},
    DEEP,
)


class Sent(NamedTuple):
    """A request to send by POST."""

    path: str
    body: bytes
    headers: dict[str, str]


def hostile_images() -> Iterator[Sent]:
    """Yield images that are truncated, randomly corrupted, or claim huge dimensions (decompression bombs)."""
    random = np.random.default_rng(0)
    paths = (PREDICTIONS, "/models/target", "/models/target/invocations")
    for name in FORMATS:
        whole = encoded(photo(), name)
        for number in range(MUTATIONS):
            cut = whole[: random.integers(0, len(whole))]
            changed_bytes = bytearray(whole)
            for index in random.integers(0, len(whole), random.integers(1, 20)):
                changed_bytes[index] = random.integers(0, 256)
            for body in (cut, bytes(changed_bytes)):
                yield Sent(paths[number % len(paths)], body, {"Content-Type": BYTES})
    for body in (*_bombs(), b"", b"\0" * 100_000, b"<svg/>", b"%PDF-1.4", b"GIF89a", b"\x89PNG\r\n\x1a\n"):
        for path in paths:
            yield Sent(path, body, {"Content-Type": BYTES})


def _bombs() -> Iterator[bytes]:
    """Yield small files that decode to huge images or claim to."""
    yield png_header(100_000, 100_000)
    side = 12_000
    lines = zlib.compress(b"\0" * (side // 8 + 1) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    yield b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b""))
    )
    jpeg = bytearray(encoded(photo(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    yield bytes(jpeg)
    bmp = bytearray(encoded(photo(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, -60_000)
    yield bytes(bmp)
    gif = bytearray(encoded(photo(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield bytes(gif)
    tiff = io.BytesIO(encoded(photo(), "TIFF"))
    yield tiff.getvalue().replace(struct.pack("<HHII", 256, 4, 1, 80), struct.pack("<HHII", 256, 4, 1, 2**31))
    webp = bytearray(encoded(photo(), "WEBP", lossless=True))
    webp[21:25] = b"\xff\xff\xff\x0f"
    yield bytes(webp)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def hostile_documents() -> Iterator[Sent]:
    """Yield invalid JSON and forms for every protocol."""
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"instances":' * 50_000,
        b'{"instances": [1e999, -Infinity, NaN]}',
        b'{"instances": ' + b"9" * 10_000 + b"}",
        b'{"instances": [], "instances": []}',
        *(json.dumps({key: value}).encode() for key in KEYS for value in VALUES),
    ]
    paths = (
        PREDICTIONS,
        "/api/v1/models/target/batch-predictions",
        "/v1/models/target:predict",
        "/v1/models/target:classify",
        "/v2/models/target/infer",
        "/models/target/invocations",
        "/api/v1/jobs",
    )
    for path in paths:
        for body in bodies:
            yield Sent(path, body, {"Content-Type": JSON})
    form = b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n"
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x", "text/csv", "a/b; c=d", YAML):
        for path in paths:
            yield Sent(path, form, {"Content-Type": content_type})


def hostile_values() -> Iterator[Sent]:
    """Yield valid documents in which one value is replaced by a value of a wrong type or range."""
    b64 = base64.b64encode(encoded(photo(8, 8))).decode()
    image, tensor = {"b64": b64}, np.full((8, 8, 1), 0.5).tolist()
    numbers = {"name": "input", "shape": [1, 8, 8, 1], "datatype": "FP32", "parameters": {}, "data": [tensor]}
    images = {"name": "input", "shape": [1], "datatype": "BYTES", "parameters": {"content_type": "b64"}, "data": [b64]}
    classified = {"name": "output", "parameters": {"classification": 2, "binary_data": False}}
    documents: list[tuple[str, Any]] = [
        (PREDICTIONS, {"instances": [image]}),
        (PREDICTIONS, {"instances": [np.zeros((8, 8, 1), int).tolist()]}),
        ("/v1/models/target:predict", {"instances": [{"input": tensor}], "signature_name": "serving_default"}),
        ("/v1/models/target:predict", {"inputs": {"input": [image]}}),
        ("/v1/models/target:classify", {"examples": [{"input": image}], "context": {"input": tensor}}),
        (
            "/v2/models/target/infer",
            {"id": "1", "parameters": {"binary_data_output": False}, "inputs": [numbers], "outputs": [classified]},
        ),
        ("/v2/models/target/infer", {"inputs": [images], "outputs": [classified]}),
        ("/v2/repository/index", {"ready": True}),
        ("/v2/repository/models/target/load", {"parameters": {"config": "{}"}}),
        ("/models/target/invocations", {"inputs": {"input": [tensor]}, "params": {"top": 1}}),
        ("/models/target/invocations", {"instances": [{"image": image}]}),
        ("/models/target/invocations", {"dataframe_split": {"columns": ["image"], "index": [0], "data": [[b64]]}}),
        ("/models/target/invocations", {"dataframe_records": [{"a": 1.5, "b": b64}]}),
        ("/models/target", {"inputs": b64, "parameters": {"top_k": 2}}),
    ]
    for path, document in documents:
        for value in WRONG:
            for changed in _with_one_replaced(document, value):
                body = json.dumps(changed).replace(f'"{DEEP}"', "[" * DEPTH + "]" * DEPTH)
                yield Sent(path, body.encode(), {"Content-Type": JSON})


def _with_one_replaced(document: Any, value: Any) -> Iterator[Any]:
    """Yield copies of the document with one value replaced, at any depth. Only the first item of a list is replaced."""
    yield value
    if isinstance(document, dict):
        for key, old in document.items():
            for new in _with_one_replaced(old, value):
                yield {**document, key: new}
    elif isinstance(document, list) and document:
        for new in _with_one_replaced(document[0], value):
            yield [new, *document[1:]]


def hostile_tables() -> Iterator[Sent]:
    """Yield Parquet files that are truncated, randomly corrupted, or far larger after decompression."""
    random = np.random.default_rng(0)
    whole = parquet(**{name: random.normal(size=100) for name in "abcd"})
    for _ in range(20):
        cut = whole[: random.integers(0, len(whole))]
        changed_bytes = bytearray(whole)
        for index in random.integers(0, len(whole), 5):
            changed_bytes[index] = random.integers(0, 256)
        for body in (cut, bytes(changed_bytes)):
            yield Sent("/models/target/invocations", body, {"Content-Type": PARQUET})
    yield Sent("/models/target/invocations", parquet(a=np.zeros(10_000_000)), {"Content-Type": PARQUET})


def hostile_tensors() -> Iterator[Sent]:
    """Yield binary tensors of wrong sizes, and bodies that are far larger after decompression."""
    path = "/v2/models/target/infer"
    tensor = {"name": "input", "shape": [1, 32, 32, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4096}}
    document = json.dumps({"inputs": [tensor]}).encode()
    for length in ("-1", "a", "0", "3", str(len(document)), "99999999", "9" * 30):
        for body in (document, document + b"\0" * 4095, document + b"\0" * 4097, document + b"\0" * 4096):
            yield Sent(path, body, {"Inference-Header-Content-Length": length})
    bomb = b" " * 300_000_000
    packed = (("gzip", gzip.compress(bomb)), ("deflate", zlib.compress(bomb)), ("gzip", b"no gzip"), ("br", b"x"))
    for encoding, body in packed:
        for where in (path, PREDICTIONS, "/v1/models/target:predict", "/models/target/invocations"):
            yield Sent(where, body, {"Content-Encoding": encoding, "Content-Type": JSON})
