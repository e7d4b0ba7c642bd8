"""Test how the server treats unread bodies, and clients that send a body slowly."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client
from werkzeug.wrappers import Response

from api.http.problems import answer_service_error
from api.http.wsgi import slow_clients
from api.http.wsgi.slow_clients import MAX_BUFFERED_BYTES, SlowClients, limit_clients
from shared.errors import Overloaded

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_DRAINED_BYTES = 64_000
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    ("size", "connection"), [(MAX_DRAINED_BYTES, None), (MAX_DRAINED_BYTES + 2**15, "close")], ids=["short", "long"]
)
def test_a_long_unread_body_closes_the_connection_and_a_short_one_not(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch, size: int, connection: str | None
) -> None:
    monkeypatch.setattr(slow_clients, "PIECE_BYTES", 1000)
    monkeypatch.setattr(slow_clients, "MAX_DRAINED_BYTES", MAX_DRAINED_BYTES)
    answer = http.post("/models/nobody/invocations", data=b"a" * size, content_type="a/b")

    assert (answer.status_code, answer.headers.get("Connection")) == (404, connection)


def test_a_body_that_was_read_keeps_the_connection_open(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs", data=b" " * (MAX_DRAINED_BYTES + 1), content_type="application/json")

    assert (answer.status_code, answer.headers.get("Connection")) == (400, None)


@pytest.mark.usefixtures("database_url")
def test_the_threads_that_wait_for_bodies_are_limited() -> None:
    clients, is_waiting, body_has_come = SlowClients(max_reads=1, max_sends=1), threading.Event(), threading.Event()

    def read_slowly(_: int) -> bytes:
        is_waiting.set()
        body_has_come.wait()
        return b"late"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(clients.read, read_slowly, 4)
        is_waiting.wait()
        with pytest.raises(Overloaded, match="1 request bodies are being received"):
            clients.read(lambda _: b"", 1)
        body_has_come.set()

        assert slow.result() == b"late"
    assert clients.read(lambda _: b"soon", 4) == b"soon"


@pytest.mark.usefixtures("database_url")
def test_large_bodies_share_a_limit_and_never_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "MAX_HELD_BYTES", 100)
    monkeypatch.setattr(slow_clients, "HOLD_SECONDS", 0.2)
    clients, both_hold = SlowClients(max_reads=1, max_sends=1), threading.Barrier(2)

    def read_body(_: int) -> bool:
        clients.begin()
        try:
            clients.hold(50)
            both_hold.wait()
            clients.hold(50)
        except Overloaded:
            return False
        finally:
            clients.end()
        return True

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(read_body, range(2)))

    assert False in answers
    clients.hold(1000)  # alone, a body may have any size
    with ThreadPoolExecutor(1) as threads, pytest.raises(Overloaded, match="Large request bodies"):
        threads.submit(clients.hold, 1).result()


@pytest.mark.usefixtures("database_url")
def test_large_responses_are_limited_and_counted_until_they_are_closed() -> None:
    application = limit_clients(answer_large, SlowClients(max_reads=1, max_sends=1), answer_service_error)
    first = Client(application).get("/")
    refused = Client(application).get("/")
    first.close()

    assert first.status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "1 large responses are being sent" in refused.text
    assert Client(application).get("/").status_code == 200


def answer_large(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    response = Response(iter([b"a" * MAX_BUFFERED_BYTES, b"b"]), content_type="text/plain")
    response.content_length = MAX_BUFFERED_BYTES + 1
    return response(environ, start_response)
