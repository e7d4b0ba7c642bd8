"""Test downloads: ETags, ranges and broken connections that are resumed."""

import hashlib

import pytest
from flask.testing import FlaskClient

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PATH = "/api/v1/models/digits/versions/1/files/model.onnx"


def test_a_download_is_not_sent_again(digits: FlaskClient) -> None:
    whole = digits.get(PATH)
    etag = whole.headers["ETag"]

    again = digits.get(PATH, headers={"If-None-Match": etag})
    other = digits.get(PATH, headers={"If-None-Match": '"other"'})

    assert etag == f'"{hashlib.sha256(whole.data).hexdigest()}"'
    assert (again.status_code, again.data) == (304, b"")
    assert (other.status_code, other.data) == (200, whole.data)


def test_a_broken_download_is_resumed(digits: FlaskClient) -> None:
    whole = digits.get(PATH)

    rest = digits.get(PATH, headers={"Range": "bytes=100-", "If-Range": whole.headers["ETag"]})
    last = digits.get(PATH, headers={"Range": "bytes=-10"})
    changed = digits.get(PATH, headers={"Range": "bytes=100-", "If-Range": '"other"'})

    assert (rest.status_code, rest.data) == (206, whole.data[100:])
    assert rest.headers["Content-Range"] == f"bytes 100-{len(whole.data) - 1}/{len(whole.data)}"
    assert last.data == whole.data[-10:]
    assert (changed.status_code, changed.data) == (200, whole.data)
    assert whole.headers["Accept-Ranges"] == "bytes"


def test_a_range_beyond_the_end_is_refused(digits: FlaskClient) -> None:
    answer = digits.get(PATH, headers={"Range": "bytes=99999999-"})

    assert (answer.status_code, answer.mimetype) == (416, "application/problem+json")
