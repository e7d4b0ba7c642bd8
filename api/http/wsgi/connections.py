"""Find the connections of clients that send or receive too slowly, and close them.

The server gives no access to its sockets, and does not tell which connection a request came from. The kernel counts the
bytes of every connection, and when the last ones were sent and received: struct tcp_info in linux/tcp.h. All functions
work only on Linux.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MIN_BYTES_PER_SECOND = 4096
"""A connection that transfers less is slow."""
MAX_SLOW_SECONDS = 8.0
"""A connection may be slow for this time."""
MAX_SILENT_SECONDS = 10.0
"""A connection is silent if it sent and received nothing for this time."""
ESTABLISHED = 1
"""State of an open connection, TCP_ESTABLISHED in netinet/tcp.h."""
_TCP_INFO = struct.Struct("8B24I4Q3I")
_STATE, _SENT, _RECEIVED, _ACKED_BYTES, _RECEIVED_BYTES, _UNSENT_BYTES = 0, 17, 19, 34, 35, 38
"""Positions in `_TCP_INFO`: milliseconds since data was sent and received, and counts of bytes."""

Peer = tuple[str, int]


@dataclass(frozen=True)
class Connection:
    """An open connection, as the kernel describes it.

    Attributes:
        peer: address of the client.
        sent_at, received_at: when data was sent and received last, in seconds of the monotonic clock.
        is_sending: whether there is data that the client has not yet taken.
        transferred: number of bytes that the client has taken, if it is sending; else that it has sent.
        taken: number of bytes that the client has taken.
        is_unanswered: whether the client sent something after the last answer: its request is incomplete, or computed.
    """

    peer: Peer
    sent_at: float
    received_at: float
    is_sending: bool
    transferred: int
    taken: int
    is_unanswered: bool


class SlowConnections:
    """Closes connections that are slow for too long. Call `close_slow` every few seconds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._slow: dict[Peer, tuple[float, Connection]] = {}  # since when it is slow, and how it was then
        self._changing = threading.Lock()  # protects `_slow`

    def close_slow(self, max_seconds: float) -> int:
        """Close connections that take or send less than MIN_BYTES_PER_SECOND for `max_seconds`.

        A connection that is unanswered and silent stays open: its request may be complete, and be computed. A small
        request after an answer begins anew: a client may send many of them, and each may be computed for a second.
        Returns the number of closed connections.
        """
        with self._changing:
            now, slow, closed = time.monotonic(), self._slow, 0
            self._slow = {}
            for connection, opened in iterate_connections(self.port):
                if not (connection.is_sending or connection.is_unanswered):
                    continue
                since, then = slow.get(connection.peer, (now, connection))
                transferred = connection.transferred - then.transferred
                begins = then.is_sending != connection.is_sending or (
                    not connection.is_sending and connection.taken > then.taken
                )
                if begins or transferred > MIN_BYTES_PER_SECOND * (now - since):
                    since, then, transferred = now, connection, 0
                is_stopped = not connection.is_sending and now - connection.received_at > max_seconds / 2
                if now - since > max_seconds and not is_stopped and (connection.is_sending or transferred > 0):
                    closed += close(opened)
                else:
                    self._slow[connection.peer] = since, then
            return closed


def close_unanswered(port: int, min_seconds: float, computed_since: Sequence[float]) -> int:
    """Close the unanswered connections that received nothing for `min_seconds`, except those whose request is computed.

    `computed_since` are the times at which requests that are computed now were complete, in seconds of the monotonic
    clock. For each, the connection is kept that received its last data shortly before. Returns the number of closed
    connections.
    """
    now = time.monotonic()
    stalled = {
        connection.peer: connection.received_at
        for connection, _ in iterate_connections(port)
        if connection.is_unanswered and not connection.is_sending and now - connection.received_at > min_seconds
    }
    for complete_at in computed_since:
        if stalled:
            del stalled[min(stalled, key=lambda peer: abs(complete_at - stalled[peer]))]
    return sum(close(opened) for connection, opened in iterate_connections(port) if connection.peer in stalled)


def close_silent(port: int) -> int:
    """Close the connections that sent and received nothing for MAX_SILENT_SECONDS. Returns their number."""
    late = time.monotonic() - MAX_SILENT_SECONDS
    return sum(
        close(opened)
        for connection, opened in iterate_connections(port)
        if max(connection.sent_at, connection.received_at) < late
    )


def count_connections(port: int) -> int:
    """Count the open connections to `port` of this process."""
    return sum(1 for _ in iterate_connections(port))


def iterate_connections(port: int) -> Iterator[tuple[Connection, socket.socket]]:
    """Yield each open connection to `port` of this process, and a duplicate of its socket, closed afterwards."""
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(link.name))) as opened:
                    if _is_tcp(opened) and opened.getsockname()[1] == port:
                        connection = _describe(opened)
                        if connection is not None:
                            yield connection, opened


def close(opened: socket.socket) -> bool:
    """End a connection for both sides. The server notices that, and closes its socket."""
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    return True


def _is_tcp(opened: socket.socket) -> bool:
    return opened.family in (socket.AF_INET, socket.AF_INET6) and opened.type == socket.SOCK_STREAM


def _describe(opened: socket.socket) -> Connection | None:
    """Describe a connection. Returns None for a socket that is not connected."""
    info = _TCP_INFO.unpack(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    if info[_STATE] != ESTABLISHED:
        return None
    now, is_sending = time.monotonic(), info[_UNSENT_BYTES] > 0
    is_first_request = info[_RECEIVED_BYTES] > 0 and not info[_ACKED_BYTES] and not is_sending
    host, port, *_ = opened.getpeername()
    return Connection(
        (host, port),
        sent_at=now - info[_SENT] / 1000,
        received_at=now - info[_RECEIVED] / 1000,
        is_sending=is_sending,
        transferred=info[_ACKED_BYTES] if is_sending else info[_RECEIVED_BYTES],
        taken=info[_ACKED_BYTES],
        # The kernel rounds times, to 4 ms or more.
        is_unanswered=is_first_request or info[_RECEIVED] < info[_SENT],
    )
