"""What an answer leaves unread of a body, and who waits for one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from api.http.slow_clients import MAX_DRAINED_BYTES, BodyReadLimiter
from shared.errors import Overloaded

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(("size", "connection"), [(MAX_DRAINED_BYTES, None), (MAX_DRAINED_BYTES + 1, "close")])
def test_little_is_read_to_its_end_and_much_ends_the_connection(
    http: FlaskClient, size: int, connection: str | None
) -> None:
    answer = http.post("/models/nobody/invocations", data=b"a" * size, content_type="a/b")

    assert (answer.status_code, answer.headers.get("Connection")) == (404, connection)


def test_what_was_read_needs_no_end(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs", data=b" " * (MAX_DRAINED_BYTES + 1), content_type="application/json")

    assert (answer.status_code, answer.headers.get("Connection")) == (400, None)


@pytest.mark.usefixtures("database_url")
def test_half_of_the_threads_may_wait_for_bodies() -> None:
    readers, waits, comes = BodyReadLimiter(threads=2), threading.Event(), threading.Event()

    def slowly(_: int) -> bytes:
        waits.set()
        comes.wait()
        return b"late"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(readers.read, slowly, 4)
        waits.wait()
        with pytest.raises(Overloaded):
            readers.read(lambda _: b"", 1)
        comes.set()

        assert slow.result() == b"late"
    assert readers.read(lambda _: b"soon", 4) == b"soon"
