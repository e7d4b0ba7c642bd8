"""Test that the fast path and Flask answer alike in every wire format: body, headers and counters."""

import base64
import gzip
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.images import encoded

CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
"""The WSGI environment of a body without a length, which the fast path passes on to Flask."""
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
JSON = {"Content-Type": "application/json"}
COUNTER = "trainyard_prediction_requests_total{"
BYTES = {"name": "input", "shape": [1], "datatype": "BYTES"}


def to_base64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def make_instances(image: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": to_base64(image)}]}).encode()


def make_json_request(image: bytes) -> bytes:
    return json.dumps({"id": "7", "inputs": [{**BYTES, "data": [to_base64(image)]}]}).encode()


def make_gzip_request(image: bytes) -> bytes:
    return gzip.compress(make_json_request(image))


def make_binary_request(image: bytes) -> bytes:
    given = {**BYTES, "parameters": {"binary_data_size": len(image) + 4}}
    document = {"id": "7", "parameters": {"binary_data_output": True}, "inputs": [given]}
    return json.dumps(document).encode() + struct.pack("<I", len(image)) + image


def make_binary_headers(image: bytes) -> dict[str, str]:
    return {"Inference-Header-Content-Length": str(len(make_binary_request(image)) - 4 - len(image))}


@pytest.mark.parametrize(
    ("path", "make_body", "headers", "status"),
    [
        ("/v1/models/digits:predict", make_instances, {}, 200),
        ("/v1/models/digits/versions/1:predict", make_instances, {}, 200),
        ("/v1/models/digits/versions/0:predict", make_instances, {}, 200),
        ("/v1/models/digits/labels/best:predict", make_instances, {}, 200),
        ("/v1/models/digits:classify", lambda image: make_instances(image).replace(b"instances", b"examples"), {}, 200),
        ("/v1/models/digits:predict", lambda _: b'{"instances": [[1, 2]]}', {}, 400),
        ("/v1/models/digits:predict", lambda _: b"{", {}, 400),
        ("/v1/models/digits:regress", make_instances, {}, 400),
        ("/v2/models/digits/infer", make_json_request, {}, 200),
        ("/v2/models/digits/versions/1/infer", make_gzip_request, {"Content-Encoding": "gzip"}, 200),
        ("/v2/models/digits/infer", make_binary_request, make_binary_headers, 200),
        ("/v2/models/digits/infer", lambda image: make_json_request(image[:40]), {}, 400),
        ("/models/digits/invocations", make_instances, JSON, 200),
        ("/models/digits@best/invocations", bytes, {"Content-Type": "image/png"}, 200),
        ("/models/xor/invocations", lambda _: b"a,b\n0,1\n", {"Content-Type": "text/csv"}, 200),
        ("/models/digits/invocations", make_instances, {"Content-Type": "text/plain"}, 415),
        ("/models/digits/invocations", lambda _: b'{"foo": 1}', JSON, 400),
        ("/models/digits", bytes, {}, 200),
        ("/models/digits", lambda image: json.dumps({"inputs": to_base64(image)}).encode(), JSON, 200),
        ("/models/line", lambda _: b'{"inputs": "AAAA"}', JSON, 400),
        ("/api/v1/models/digits/predictions", lambda image: image[:40], {}, 422),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_fast_path_and_flask_answer_alike(
    http: FlaskClient,
    digit: np.ndarray,
    path: str,
    make_body: Callable[[bytes], bytes],
    headers: dict[str, str] | Callable[[bytes], dict[str, str]],
    status: int,
    met_by_flask: list[str],
) -> None:
    image = encoded(digit)
    sent_headers = {**(headers(image) if callable(headers) else headers), "X-Request-ID": "same"}

    def post(**environ: object) -> TestResponse:
        return http.post(path, data=make_body(image), headers=sent_headers, environ_overrides=environ)

    post()  # loads the version
    met_by_flask.clear()
    fast = post()
    passed_to_flask = len(met_by_flask)
    by_flask = post(**CHUNKED)

    assert fast.status_code == by_flask.status_code == status, by_flask.text
    assert fast.data == by_flask.data
    assert sorted(fast.headers) == sorted(by_flask.headers)
    assert passed_to_flask == 0
    counts = [line.split()[-1] for line in http.get("/metrics").text.splitlines() if line.startswith(COUNTER)]
    assert counts == ["3.0"]


@pytest.mark.parametrize("path", ["/v1/models/nobody:predict", "/v2/models/digits/versions/9/infer"])
def test_fast_path_passes_versions_that_are_not_loaded_to_flask(
    http: FlaskClient, digit: np.ndarray, path: str, met_by_flask: list[str]
) -> None:
    answers = [http.post(path, data=make_instances(encoded(digit))) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert met_by_flask == [f"{path}?"] * 2


def test_fast_path_answers_an_unexpected_error_as_a_problem(
    http: FlaskClient, digit: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.post("/api/v1/models/digits/predictions", data=encoded(digit))
    monkeypatch.setattr("api.protocols.rest.dump_predictions", lambda *_: 1 / 0)

    answer = http.post("/api/v1/models/digits/predictions", data=encoded(digit), headers={"X-Request-ID": "mine"})

    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert answer.json["request_id"] == answer.headers["X-Request-ID"] == "mine"
    assert 'outcome="internal-error"' in http.get("/metrics").text
