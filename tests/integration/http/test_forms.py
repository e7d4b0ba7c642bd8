"""Test forms and bodies as real clients send them: names in other encodings, repeated fields, compressed bodies."""

import gzip
import io
import json
import zlib
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.images import encoded, photo
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PREDICTIONS = "/api/v1/models/digits/predictions"
IMAGE = encoded(photo(8, 8))


def make_form(file_name: bytes, content: bytes = IMAGE, fields: bytes = b"") -> bytes:
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="' + file_name + b'"\r\n\r\n'
    return fields + head + content + b"\r\n--X--\r\n"


def send_form(http: FlaskClient, path: str, body: bytes, content_type: str = "multipart/form-data; boundary=X") -> Any:
    return http.post(path, data=body, content_type=content_type)


@pytest.mark.parametrize(
    "file_name",
    ["사진.png".encode("cp949"), "photo é.png".encode("latin-1"), "写真.png".encode("shift_jis"), "사진.png".encode()],
)
def test_the_name_of_a_file_can_have_any_encoding(digits: FlaskClient, file_name: bytes) -> None:
    answer = send_form(digits, PREDICTIONS, make_form(file_name))

    assert answer.status_code == 200, answer.text


def test_the_name_of_an_image_is_shown_as_it_was(digits: FlaskClient) -> None:
    answer = send_form(digits, PREDICTIONS, make_form("사진.png".encode("cp949"), b"no image"))

    assert "사진.png" in answer.json["detail"]


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", make_form(b"a.png"), "has no boundary"),
        ("multipart/form-data; boundary=X", b"--X\r\nno header", "The form cannot be read"),
        ("multipart/form-data; boundary=X", make_form(b"a.png")[:-12], "The form cannot be read"),
    ],
)
def test_a_malformed_form_is_told_as_such(digits: FlaskClient, content_type: str, body: bytes, words: str) -> None:
    answer = send_form(digits, PREDICTIONS, body, content_type)

    assert words in assert_problem(answer, 400, "malformed-request")["detail"]


def test_an_unknown_field_of_a_form_is_refused(digits: FlaskClient) -> None:
    answer = digits.post(PREDICTIONS, data={"file": (io.BytesIO(IMAGE), "a.png"), "top": "3"})

    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "#/top"
    assert "?top=3" in problem["errors"][0]["detail"]


@pytest.mark.parametrize("query", ["version=99", "top_k=3", "tpo=2"])
def test_an_unknown_key_of_a_query_is_refused(digits: FlaskClient, query: str) -> None:
    answer = digits.post(f"{PREDICTIONS}?{query}", data=IMAGE)

    assert_problem(answer, 422, "invalid-request")


def test_a_field_or_a_file_that_occurs_twice_is_refused(http: FlaskClient) -> None:
    twice = {"name": ["a", "b"], "file": (io.BytesIO(TABLE.encode()), "a.csv")}
    two_files = {"name": "a", "file": [(io.BytesIO(TABLE.encode()), "a.csv"), (io.BytesIO(b"x"), "b.csv")]}
    other_file = {"name": "a", "file": (io.BytesIO(TABLE.encode()), "a.csv"), "more": (io.BytesIO(b"x"), "b.csv")}

    answers = [http.post("/api/v1/datasets", data=data) for data in (twice, two_files, other_file)]

    assert_problem(answers[0], 422, "invalid-request")
    assert "contains 2 files: 'file', 'file'" in assert_problem(answers[1], 400, "malformed-request")["detail"]
    assert "contains 2 files: 'file', 'more'" in assert_problem(answers[2], 400, "malformed-request")["detail"]


def test_a_bad_priority_and_bad_tags_of_a_batch_form_are_refused(digits: FlaskClient) -> None:
    path = "/api/v1/models/digits/batch-predictions"

    wrong = digits.post(path, data={"file": (io.BytesIO(IMAGE), "a.zip"), "tags": "{"})
    too_high = digits.post(path, data={"file": (io.BytesIO(IMAGE), "a.zip"), "priority": "101"})

    assert_problem(wrong, 400, "malformed-request")
    assert assert_problem(too_high, 422, "invalid-request")["errors"][0]["pointer"] == "#/priority"


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_tensorflow_serving_and_triton_unpack_bodies(digits: FlaskClient, name: str, pack: Any) -> None:
    body = pack(json.dumps({"instances": [[[[0.5]] * 8] * 8]}).encode())

    answer = digits.post("/v1/models/digits:predict", data=body, headers={"Content-Encoding": name})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "path", [PREDICTIONS, "/models/digits/invocations", "/models/digits", "/api/v1/jobs", "/api/v1/datasets"]
)
def test_other_paths_name_the_encoding_of_a_compressed_body(digits: FlaskClient, path: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

    answer = digits.post(path, data=gzip.compress(b"{}"), headers=headers)

    assert answer.status_code == 415
    assert "The Content-Encoding is 'gzip'" in answer.text


def test_a_batch_form_with_priority_and_tags_makes_a_job(iris: FlaskClient) -> None:
    fields = {"priority": "7", "tags": '{"course": "fall"}', "file": (io.BytesIO(b"1,2,3,4\n5,6,7,8\n"), "a.csv")}

    job = iris.post("/api/v1/models/iris/batch-predictions", data=fields).json

    assert (job["priority"], job["tags"]) == (7, {"course": "fall"})
