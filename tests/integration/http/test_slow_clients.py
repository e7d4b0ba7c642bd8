"""Test how the server treats unread bodies, and clients that send a body slowly."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from api.http.slow_clients import MAX_DRAINED_BYTES, BodyReadLimiter
from shared.errors import Overloaded

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    ("size", "connection"), [(MAX_DRAINED_BYTES, None), (MAX_DRAINED_BYTES + 1, "close")], ids=["short", "long"]
)
def test_a_long_unread_body_closes_the_connection_and_a_short_one_not(
    http: FlaskClient, size: int, connection: str | None
) -> None:
    answer = http.post("/models/nobody/invocations", data=b"a" * size, content_type="a/b")

    assert (answer.status_code, answer.headers.get("Connection")) == (404, connection)


def test_a_body_that_was_read_keeps_the_connection_open(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs", data=b" " * (MAX_DRAINED_BYTES + 1), content_type="application/json")

    assert (answer.status_code, answer.headers.get("Connection")) == (400, None)


@pytest.mark.usefixtures("database_url")
def test_only_half_of_the_threads_may_wait_for_bodies() -> None:
    limiter, is_waiting, body_has_come = BodyReadLimiter(threads=2), threading.Event(), threading.Event()

    def read_slowly(_: int) -> bytes:
        is_waiting.set()
        body_has_come.wait()
        return b"late"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(limiter.read, read_slowly, 4)
        is_waiting.wait()
        with pytest.raises(Overloaded):
            limiter.read(lambda _: b"", 1)
        body_has_come.set()

        assert slow.result() == b"late"
    assert limiter.read(lambda _: b"soon", 4) == b"soon"
