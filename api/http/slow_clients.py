"""Limit the threads that wait for request bodies, drain unread bodies, and close silent connections.

granian has a time limit for the headers of a request, but none for its body. Without the limit on threads, clients that
send slowly could occupy all of them.
"""

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.http.bodies import parse_length
from shared.errors import Overloaded

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Writer = Callable[[bytes], object]

logger = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 2.0
MAX_SILENT_SECONDS = 10.0
"""A read of a body is late after this time. A connection is silent if it sent and received nothing for this time."""
MAX_CONNECTIONS = 4096
MAX_DRAINED_BYTES = 2**16
ESTABLISHED = 1
"""State of an open connection, TCP_ESTABLISHED in netinet/tcp.h."""
_TCP_INFO = "8B12I"
"""The beginning of struct tcp_info in linux/tcp.h.

The first value is the state of the connection. The last value is the milliseconds since data was received last, and the
third value from the end is the milliseconds since data was sent last.
"""


class BodyReadLimiter:
    """Limits the number of threads that read request bodies to half of all threads, so that others stay available."""

    def __init__(self, threads: int) -> None:
        self._max_reads = max(1, threads // 2)
        self._started_at: dict[int, float] = {}  # thread → start of its read, in seconds of the monotonic clock

    def read(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Call `read(size)` and return its result. Raises Overloaded if too many threads read a body already."""
        if len(self._started_at) >= self._max_reads:
            raise Overloaded(
                f"{self._max_reads} request bodies are being received, the limit (half of TRAINYARD_API_THREADS). "
                "Retry in a few seconds."
            )
        thread = threading.get_ident()
        self._started_at[thread] = time.monotonic()
        try:
            return read(size)
        finally:
            del self._started_at[thread]

    def watch(self, port: int) -> None:
        """Start a thread that closes silent connections to `port` if many reads are late or many connections exist."""
        threading.Thread(target=self._watch_connections, args=(port,), name="readers", daemon=True).start()

    def _watch_connections(self, port: int) -> None:
        while True:
            time.sleep(CHECK_INTERVAL_SECONDS)
            late = time.monotonic() - MAX_SILENT_SECONDS
            waiting = sum(since < late for since in list(self._started_at.values()))
            connections = count_connections(port)
            if waiting > self._max_reads // 4 or connections > MAX_CONNECTIONS // 2:
                cut = close_silent_connections(port)
                logger.warning("%d bodies were late, %d connections were open, %d closed", waiting, connections, cut)


class LimitedBody:
    """The `wsgi.input` of a request. BodyReadLimiter limits its reads."""

    def __init__(self, environ: "WSGIEnvironment", readers: BodyReadLimiter) -> None:
        self._input: Any = environ["wsgi.input"]
        self._readers = readers
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        self._left: int | None = None if is_chunked else parse_length(environ.get("CONTENT_LENGTH")) or 0
        """Number of unread bytes; None for a chunked body, whose length is unknown."""

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or all if `size` is negative. Raises Overloaded."""
        if self._left == 0:
            return b""
        content = self._readers.read(self._input.read, size)
        if size < 0 or len(content) < size:
            self._left = 0
        elif self._left is not None:
            self._left -= len(content)
        return content

    def drain(self) -> bool:
        """Read the rest of the body, up to MAX_DRAINED_BYTES. Return whether the end of the body is reached."""
        if self._left is None or self._left > MAX_DRAINED_BYTES:
            return False
        with contextlib.suppress(Overloaded):
            self.read(self._left)
        return self._left == 0


def limit_bodies(application: "WSGIApplication", readers: BodyReadLimiter) -> "WSGIApplication":
    """Wrap a WSGI application: limit its reads of bodies, and drain what it leaves unread.

    The server would read the rest of a body as the next request of the connection. If the rest is too large to drain,
    the response closes the connection.
    """

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        body = environ["wsgi.input"] = LimitedBody(environ, readers)
        start_arguments: list[Any] = []

        def begin(*answer: Any) -> "Writer":  # noqa: ANN401 - the arguments of start_response
            start_arguments[:] = answer
            return start_arguments.append

        content = application(environ, begin)
        status, headers, *rest = start_arguments
        start_response(status, headers if body.drain() else [*headers, ("Connection", "close")], *rest)
        return content

    return call


def count_connections(port: int) -> int:
    """Count the open connections to `port` of this process. Works only on Linux, as all functions below."""
    return sum(1 for _ in _iterate_connections(port))


def close_silent_connections(port: int) -> int:
    """Close the silent connections to `port` of this process. Return their number."""
    return sum(_close(connection) for connection in _iterate_connections(port) if _is_silent(connection))


def _iterate_connections(port: int) -> Iterator[socket.socket]:
    """Yield a duplicate of the socket of each open connection. granian gives no access to its sockets."""
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(link.name))) as connection:
                    if _is_established(connection, port):
                        yield connection


def _is_established(connection: socket.socket, port: int) -> bool:
    is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM
    return is_tcp and connection.getsockname()[1] == port and _read_tcp_info(connection)[0] == ESTABLISHED


def _is_silent(connection: socket.socket) -> bool:
    *_, sent, _, received = _read_tcp_info(connection)
    return min(sent, received) > 1000 * MAX_SILENT_SECONDS


def _read_tcp_info(connection: socket.socket) -> tuple[int, ...]:
    """Read the fields of `_TCP_INFO` from the kernel."""
    size = struct.calcsize(_TCP_INFO)
    return struct.unpack(_TCP_INFO, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size))


def _close(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return True
