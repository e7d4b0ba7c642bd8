"""Send hostile requests: no server error except 503, no crash and no growth of memory."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.clients import await_end, submit
from tests.support.examples import DIGITS, changed
from tests.support.hostile import (
    PREDICTIONS,
    Sent,
    hostile_documents,
    hostile_images,
    hostile_tables,
    hostile_tensors,
    hostile_values,
)
from tests.support.images import encoded, photo
from tests.support.stacks import LocalStack, Stack
from tests.support.waiting import wait_for

MAX_GROWTH_BYTES = 150 * 2**20
"""Twice the memory that the allocator keeps after the largest accepted image."""


@pytest.fixture(scope="module")
def served(stack: Stack) -> LocalStack:
    """Return a service that serves the model `target`."""
    if not isinstance(stack, LocalStack):
        pytest.skip("runs only in `make e2e`: the test reads the memory of the server's processes")
    job = await_end(stack.http, submit(stack.http, changed(DIGITS, "model", "target")))
    assert job["status"] == "succeeded", job["error"]
    return stack


def test_hostile_bodies_cause_no_server_error_and_no_memory_growth(served: LocalStack) -> None:
    hostile = [*hostile_images(), *hostile_documents(), *hostile_values(), *hostile_tensors(), *hostile_tables()]
    assert len(hostile) > 1000
    _send_all(served.http, hostile[:200])
    before = _measure_memory(served)

    statuses = _send_all(served.http, hostile)

    assert [(sent, status) for sent, status in statuses if status >= 500 and status != 503] == []
    assert _measure_memory(served) - before < MAX_GROWTH_BYTES
    assert _predict_digit(served.http) == 200


def test_incomplete_requests_do_not_block_other_clients(served: LocalStack) -> None:
    head = b"POST /api/v1/models/target/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    starts = [
        b"",
        b"POST /api",
        head,
        head + b"Content-Length: 1000\r\n\r\nabc",
        head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ]
    with contextlib.ExitStack() as stack:
        for start in starts:
            for _ in range(150):
                stack.enter_context(_connect(served, start))

        assert {served.http.get("/health/live").status_code for _ in range(20)} == {200}
        wait_for(lambda: _predict_digit(served.http) == 200)  # once the server has closed the oldest connections


def test_malformed_http_gets_4xx_or_a_closed_connection(served: LocalStack) -> None:
    head = "POST /api/v1/models/target/predictions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for request in (
        f"{head}Content-Length: -1\r\n\r\nabc",
        f"{head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        f"{head}Content-Length: 99999999999999999999\r\n\r\nabc",
        f"{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        f"{head}X-Long: {'a' * 2_000_000}\r\n\r\n",
        head + "".join(f"X-{number}: a\r\n" for number in range(5000)) + "\r\n",
        f"POST /{'a' * 100_000} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\0" * 1000,
    ):
        with _connect(served, request.encode()) as connection:
            status = _read_status(connection)

        assert status is None or 400 <= status < 500, request[:200]
    assert _predict_digit(served.http) == 200


def _send_all(http: httpx.Client, hostile: list[Sent]) -> list[tuple[Sent, int]]:
    """Send the requests by four threads and return each with its status."""

    def send(sent: Sent) -> tuple[Sent, int]:
        return sent, http.post(sent.path, content=sent.body, headers=sent.headers).status_code

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(send, hostile))


def _predict_digit(http: httpx.Client) -> int:
    """Return the status of a valid prediction."""
    headers = {"Content-Type": "image/png"}
    return http.post(PREDICTIONS, content=encoded(photo(8, 8)), headers=headers).status_code


def _measure_memory(stack: LocalStack) -> int:
    """Return the resident memory of the API's processes in bytes."""
    api = stack.program("api")
    return sum(process.memory_info().rss for process in (api, *api.children()))


def _connect(stack: LocalStack, start: bytes) -> socket.socket:
    """Open a connection to the API and send the first bytes of a request."""
    url = stack.http.base_url
    connection = socket.create_connection((url.host, url.port or 80), timeout=30)
    with contextlib.suppress(OSError):  # the server may close the connection before it has read everything
        connection.sendall(start)
    return connection


def _read_status(connection: socket.socket) -> int | None:
    """Return the status of the response; None if the server closed the connection without one."""
    try:
        line = connection.makefile("rb").readline().split()
    except OSError:
        return None
    return int(line[1]) if len(line) > 1 else None
