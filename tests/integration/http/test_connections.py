"""Test which connections of slow clients are closed, with real sockets."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from api.http.wsgi import connections
from api.http.wsgi.connections import SlowConnections, close_silent, close_unanswered, count_connections


class Server:
    """A server whose connections are in this process. `connect` returns the sockets of a client and of the server."""

    def __init__(self, sockets: ExitStack) -> None:
        self._sockets = sockets
        self._listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listening.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = self._sockets.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        served, _ = self._listening.accept()
        return client, self._sockets.enter_context(served)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Provide a server with time limits of less than a second."""
    monkeypatch.setattr(connections, "MAX_SILENT_SECONDS", 0.2)
    with ExitStack() as sockets:
        yield Server(sockets)


def is_closed(client: socket.socket) -> bool:
    """Return whether the server has closed the connection, after all data that was sent."""
    client.settimeout(0.05)
    try:
        while client.recv(2**16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def watch(server: Server, rounds: int = 8) -> Iterator[None]:
    slow = SlowConnections(server.port)
    for _ in range(rounds):
        slow.close_slow(0.4)
        yield
        time.sleep(0.1)


def test_a_client_that_drips_its_body_is_closed(server: Server) -> None:
    client, _ = server.connect()

    for _ in watch(server):
        client.send(b"x")
        if is_closed(client):
            break

    assert is_closed(client)


def test_a_client_that_sends_fast_enough_stays(server: Server) -> None:
    client, _ = server.connect()

    for _ in watch(server):
        client.send(b"x" * 1000)

    assert not is_closed(client)


def test_a_client_whose_small_requests_are_answered_slowly_stays(server: Server) -> None:
    client, answering = server.connect()

    for _ in watch(server, rounds=12):
        answering.send(b"the answer to the request before")
        time.sleep(0.02)  # the kernel rounds times
        client.send(b"the next request")

    assert not is_closed(client)


def test_a_client_that_takes_nothing_of_its_response_is_closed(server: Server) -> None:
    _, served = server.connect()
    served.settimeout(0.1)
    with pytest.raises(TimeoutError):
        served.sendall(b"x" * 2**24)

    for _ in watch(server):
        pass

    with pytest.raises(BrokenPipeError):
        served.send(b"x")


def test_connections_that_wait_for_their_answer_or_are_idle_stay(server: Server) -> None:
    waiting, _ = server.connect()
    idle, answering = server.connect()
    waiting.send(b"a whole request")
    idle.send(b"a whole request")
    time.sleep(0.01)
    answering.send(b"its answer")

    for _ in watch(server):
        pass

    assert not is_closed(waiting)
    assert not is_closed(idle)


def test_incomplete_requests_are_closed_and_those_that_are_computed_stay(server: Server) -> None:
    clients, sent_at = [], []
    for _ in range(4):
        client, _ = server.connect()
        client.send(b"x")
        sent_at.append(time.monotonic())
        clients.append(client)
        time.sleep(0.05)
    time.sleep(1.0)
    busy, _ = server.connect()
    busy.send(b"x")
    min_seconds = time.monotonic() - sent_at[-1] - 0.5  # of all but the last one, also on a machine that pauses

    assert close_unanswered(server.port, min_seconds, sent_at[1:2]) == 3  # the second request is computed
    assert [is_closed(client) for client in [*clients, busy]] == [True, False, True, True, False]


def test_silent_connections_are_closed(server: Server) -> None:
    silent, _ = server.connect()
    time.sleep(0.3)
    busy, _ = server.connect()
    busy.send(b"x")

    assert count_connections(server.port) == 2
    assert close_silent(server.port) == 1
    assert (is_closed(silent), is_closed(busy)) == (True, False)
