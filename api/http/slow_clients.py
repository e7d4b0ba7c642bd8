"""Bodies as they come in: no client can hold all threads by sending slowly, and none is left lying in a connection.

The server itself reads headers with a time limit, and bodies without one.
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

from shared.errors import Overloaded

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Writer = Callable[[bytes], object]

logger = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 2.0
MAX_SILENT_SECONDS = 10.0
"""A body of which nothing came for so long is late."""
MAX_CONNECTIONS = 4096
MAX_DRAINED_BYTES = 2**16
ESTABLISHED = 1
_TCP_INFO = "8B12I"
"""Of linux/tcp.h, to the milliseconds since data came last; those since data went last are the third to the end."""


class BodyReadLimiter:
    """Who waits for a body. Half of the threads may: the others go on answering what needs none."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._since: dict[int, float] = {}

    def read(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Raises Overloaded where too many wait already."""
        if len(self._since) >= self._most:
            raise Overloaded("Too many bodies are waited for here: try again in a moment.")
        thread = threading.get_ident()
        self._since[thread] = time.monotonic()
        try:
            return read(size)
        finally:
            del self._since[thread]

    def watch(self, port: int) -> None:
        """From now on: where many wait in vain, or connections are many, the silent ones are cut."""
        threading.Thread(target=self._look_now_and_then, args=(port,), name="readers", daemon=True).start()

    def _look_now_and_then(self, port: int) -> None:
        while True:
            time.sleep(CHECK_INTERVAL_SECONDS)
            late = time.monotonic() - MAX_SILENT_SECONDS
            waiting = sum(since < late for since in list(self._since.values()))
            connections = count_connections(port)
            if waiting > self._most // 4 or connections > MAX_CONNECTIONS // 2:
                cut = close_silent_connections(port)
                logger.warning("%d bodies did not come, %d connections were open, %d cut", waiting, connections, cut)


class LimitedBody:
    """`wsgi.input`."""

    def __init__(self, environ: "WSGIEnvironment", readers: BodyReadLimiter) -> None:
        self._input: Any = environ["wsgi.input"]
        self._readers = readers
        declared = environ.get("CONTENT_LENGTH") or ""
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        self._left: int | None = None if is_chunked else int(declared) if declared.isdecimal() else 0
        """Bytes; None for a body in chunks, which does not say."""

    def read(self, size: int = -1) -> bytes:
        """Raises Overloaded."""
        if self._left == 0:
            return b""
        content = self._readers.read(self._input.read, size)
        if size < 0 or len(content) < size:
            self._left = 0
        elif self._left is not None:
            self._left -= len(content)
        return content

    def drain(self) -> bool:
        """Whether nothing is left of it, after the little that may be."""
        if self._left is None or self._left > MAX_DRAINED_BYTES:
            return False
        with contextlib.suppress(Overloaded):
            self.read(self._left)
        return self._left == 0


def limit_bodies(application: "WSGIApplication", readers: BodyReadLimiter) -> "WSGIApplication":
    """What an answer leaves unread would break the client's next request on the same connection."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        body = environ["wsgi.input"] = LimitedBody(environ, readers)
        begun: list[Any] = []

        def begin(*answer: Any) -> "Writer":  # noqa: ANN401 - as start_response has it
            begun[:] = answer
            return begun.append

        content = application(environ, begin)
        status, headers, *rest = begun
        start_response(status, headers if body.drain() else [*headers, ("Connection", "close")], *rest)
        return content

    return call


def count_connections(port: int) -> int:
    """To this process. Linux only, as all below."""
    return sum(1 for _ in _iterate_connections(port))


def close_silent_connections(port: int) -> int:
    """Connections to this process over which nothing has come or gone for a while; answers how many."""
    return sum(_close(connection) for connection in _iterate_connections(port) if _is_silent(connection))


def _iterate_connections(port: int) -> Iterator[socket.socket]:
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
    size = struct.calcsize(_TCP_INFO)
    return struct.unpack(_TCP_INFO, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size))


def _close(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return True
