"""Limit the threads that wait for clients, drain unread bodies, and close the connections of slow clients.

granian has a time limit for the headers of a request, but none for its body or for the response. A thread waits while a
body arrives, and while a client takes a large response. Without limits, slow clients could occupy all threads.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from api.http.bodies import parse_length
from api.http.wsgi.connections import (
    MAX_SILENT_SECONDS,
    MAX_SLOW_SECONDS,
    SlowConnections,
    close_silent,
    close_unanswered,
    count_connections,
)
from shared.errors import Overloaded

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Writer = Callable[[bytes], object]

logger = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 2.0
MAX_CONNECTIONS = 4096
MAX_DRAINED_BYTES = 64 * 2**20
DRAINED_PIECE_BYTES = 2**14
DRAIN_SECONDS = 5.0
MAX_BUFFERED_BYTES = 2**19
"""A response up to this size is given to the server as a whole. A larger one occupies a thread until it is sent."""
STALLED_SECONDS = 1.0
"""When too many threads wait for bodies, connections that sent nothing for this time are closed."""
PIECE_BYTES = 2**20
MAX_HELD_BYTES = 48 * 2**20
"""The most bytes of all bodies of more than PIECE_BYTES together, except uploads, which are written to files."""
HOLD_SECONDS = 3.0
"""The longest time that a request waits for the bytes of others."""
REFUSAL_SECONDS = 1.0
"""A refused large body is answered after this time: a client that sends it again at once takes less of the machine."""
ROOM_SECONDS = 0.5
"""The longest time that a request waits until fewer threads wait for bodies."""


class SlowClients:
    """Limits the threads that wait for clients.

    A body of more than PIECE_BYTES also counts with its bytes, until its request is answered.

    Args:
        max_reads: the most threads that wait for request bodies.
        max_sends: the most threads that wait for clients to take large responses.
    """

    def __init__(self, max_reads: int, max_sends: int) -> None:
        self._max_reads = max_reads
        self._max_sends = max_sends
        self._sends = 0
        self._reading_since: dict[int, float] = {}  # thread → start of its read, in seconds of the monotonic clock
        self._computing_since: dict[int, float] = {}  # thread → when the last part of its body was read
        self._changing = threading.Lock()  # protects `_sends` and `_swept_at`
        self._swept_at = float("-inf")
        self._held_bytes: dict[int, int] = {}  # thread → bytes of its large body
        self._slow: SlowConnections | None = None

    def hold(self, size: int) -> None:
        """Count bytes of a large body that have arrived, until `end`. A body that is alone may have any size.

        Before its first bytes, a request waits at most HOLD_SECONDS for others. It does not wait later: requests that
        hold bytes while they wait would wait for each other. Raises Overloaded.
        """
        thread, until = threading.get_ident(), time.monotonic() + HOLD_SECONDS
        while True:
            with self._changing:
                own = self._held_bytes.get(thread, 0)
                others = sum(self._held_bytes.values()) - own
                if not others or others + own + size <= MAX_HELD_BYTES:
                    self._held_bytes[thread] = own + size
                    return
            if own or time.monotonic() > until:
                raise Overloaded(
                    f"Large request bodies take {MAX_HELD_BYTES // 2**20} MiB, the limit. Retry in a few seconds."
                )
            time.sleep(HOLD_SECONDS / 100)

    def collect(self, pieces: Iterable[bytes]) -> bytes:
        """Join the pieces of a large body, and count their bytes until `end`. Raises Overloaded."""
        collected = []
        try:
            for piece in pieces:
                collected.append(piece)
                self.hold(len(piece))
        except Overloaded:
            collected.clear()
            self._forget()
            time.sleep(REFUSAL_SECONDS)
            raise
        return b"".join(collected)

    def _forget(self) -> None:
        """Count the bytes of this thread no longer."""
        self._held_bytes.pop(threading.get_ident(), None)

    def read(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Call `read(size)` and return its result. Raises Overloaded if too many threads read a body already."""
        if len(self._reading_since) >= self._max_reads and not self._make_room():
            raise Overloaded(f"{self._max_reads} request bodies are being received, the limit. Retry in a few seconds.")
        thread = threading.get_ident()
        self._reading_since[thread] = time.monotonic()
        try:
            return read(size)
        finally:
            del self._reading_since[thread]
            if thread in self._computing_since:
                self._computing_since[thread] = time.monotonic()

    def begin(self) -> None:
        """Begin a request in this thread: it is computed whenever its body is not read."""
        self._computing_since[threading.get_ident()] = time.monotonic()

    def end(self) -> None:
        """End the request of this thread, when its answer is made."""
        del self._computing_since[threading.get_ident()]
        self._forget()

    def send(self, content: Iterable[bytes]) -> "LimitedResponse":
        """Return the content of a response, which counts until it is closed. Raises Overloaded."""
        with self._changing:
            if self._sends >= self._max_sends:
                raise Overloaded(f"{self._sends} large responses are being sent, the limit. Retry in a few seconds.")
            self._sends += 1
        return LimitedResponse(content, self._end_send)

    def watch(self, port: int) -> None:
        """Start a thread that closes slow connections to `port`. Before that, none is closed."""
        self._slow = SlowConnections(port)
        threading.Thread(target=self._watch_connections, args=(port,), name="slow clients", daemon=True).start()

    def _end_send(self) -> None:
        with self._changing:
            self._sends -= 1

    def _make_room(self) -> bool:
        """Close stalled connections, and wait until fewer threads read bodies. Returns whether there is room."""
        until = time.monotonic() + ROOM_SECONDS
        while (now := time.monotonic()) < until:
            with self._changing:
                is_due = now - self._swept_at > ROOM_SECONDS / 2
                if is_due:
                    self._swept_at = now
            if is_due:
                self._close_slow(STALLED_SECONDS)
                self._close_unanswered(STALLED_SECONDS)
            time.sleep(ROOM_SECONDS / 20)
            if len(self._reading_since) < self._max_reads:
                return True
        return False

    def _close_slow(self, max_seconds: float) -> None:
        if self._slow is not None and (closed := self._slow.close_slow(max_seconds)):
            logger.warning("%d connections were closed that were slow for %g s", closed, max_seconds)

    def _close_unanswered(self, min_seconds: float) -> None:
        reading = self._reading_since.keys()
        computing = [since for thread, since in list(self._computing_since.items()) if thread not in reading]
        if self._slow is not None and (closed := close_unanswered(self._slow.port, min_seconds, computing)):
            logger.warning("%d connections were closed whose request was incomplete for %g s", closed, min_seconds)

    def _watch_connections(self, port: int) -> None:
        while True:
            time.sleep(CHECK_INTERVAL_SECONDS)
            self._close_slow(MAX_SLOW_SECONDS)
            late = time.monotonic() - MAX_SILENT_SECONDS
            late_reads = sum(since < late for since in list(self._reading_since.values()))
            if late_reads:
                self._close_unanswered(MAX_SILENT_SECONDS)
            if late_reads > self._max_reads // 4 or count_connections(port) > MAX_CONNECTIONS // 2:
                logger.warning("%d silent connections were closed", close_silent(port))


class LimitedResponse:
    """The content of a large response, which counts from its creation until it is closed.

    It is not a generator: the `finally` of a generator does not run if nothing was read from it.
    """

    def __init__(self, content: Iterable[bytes], end: Callable[[], None]) -> None:
        self._content = content
        self._chunks = iter(content)
        self._end: Callable[[], None] | None = end

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Close the content. A second call has no effect."""
        end, self._end = self._end, None
        if end is not None:
            end()
            _close_content(self._content)


class LimitedBody:
    """The `wsgi.input` of a request. SlowClients limits its reads."""

    def __init__(self, environ: "WSGIEnvironment", clients: SlowClients) -> None:
        self._input: Any = environ["wsgi.input"]
        self._clients = clients
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        self._left: int | None = None if is_chunked else parse_length(environ.get("CONTENT_LENGTH")) or 0
        """Number of unread bytes; None for a chunked body, whose length is unknown."""

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or all if `size` is negative. A large body is read in pieces. Raises Overloaded."""
        if 0 <= size <= PIECE_BYTES:
            return self._read_piece(size)
        return self._clients.collect(self._read_pieces(size if size >= 0 else sys.maxsize))

    def _read_pieces(self, missing: int) -> Iterator[bytes]:
        while missing and self._left != 0:
            wanted = min(missing, PIECE_BYTES)
            yield self._read_piece(wanted)
            missing -= wanted

    def drain(self) -> bool:
        """Read the rest of the body, up to MAX_DRAINED_BYTES in DRAIN_SECONDS. Return whether its end is reached.

        Most clients read the response only when they have sent the whole body.
        """
        drained, until = 0, time.monotonic() + DRAIN_SECONDS
        with contextlib.suppress(Overloaded):
            while self._left != 0 and drained < MAX_DRAINED_BYTES and time.monotonic() < until:
                drained += len(self._read_piece(DRAINED_PIECE_BYTES))
        return self._left == 0

    def _read_piece(self, size: int) -> bytes:
        if self._left == 0 or not size:
            return b""
        wanted = size if self._left is None else min(size, self._left)
        content = self._clients.read(self._input.read, wanted)
        if len(content) < wanted:
            self._left = 0
        elif self._left is not None:
            self._left -= len(content)
        return content


def limit_clients(
    application: "WSGIApplication", clients: SlowClients, refuse: "Callable[[Overloaded], WSGIApplication]"
) -> "WSGIApplication":
    """Wrap a WSGI application: limit its reads of bodies and its large responses, and drain what it leaves unread.

    The server would read the rest of a body as the next request of the connection. If the rest is too large to drain,
    the response closes the connection. `refuse` returns the application that answers instead of a large response.
    """

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        body = None
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            body = environ["wsgi.input"] = LimitedBody(environ, clients)
        start_arguments: list[Any] = []

        def begin(*answer: Any) -> "Writer":  # noqa: ANN401 - the arguments of start_response
            start_arguments[:] = answer
            return start_arguments.append

        clients.begin()
        try:
            content = application(environ, begin)
            if _is_small(start_arguments[1]):
                content = _read_content(content)
        finally:
            clients.end()
        is_drained = body is None or body.drain()
        if not (isinstance(content, list) or _is_event_stream(start_arguments[1])):
            try:
                content = clients.send(content)
            except Overloaded as error:
                _close_content(content)
                content = _read_content(refuse(error)(environ, begin))
        status, headers, *rest = start_arguments
        closing = [] if is_drained else [("Connection", "close")]
        start_response(status, [*headers, *closing], *rest)
        return content

    return call


def _is_small(headers: list[tuple[str, str]]) -> bool:
    length = next((parse_length(value) for name, value in headers if name.lower() == "content-length"), None)
    return length is not None and length <= MAX_BUFFERED_BYTES


def _is_event_stream(headers: list[tuple[str, str]]) -> bool:
    """Return whether the response is a stream of events; JobFeeds limits the number of these."""
    return any(name.lower() == "content-type" and value.startswith("text/event-stream") for name, value in headers)


def _read_content(content: Iterable[bytes]) -> list[bytes]:
    try:
        return [b"".join(content)]
    finally:
        _close_content(content)


def _close_content(content: Iterable[bytes]) -> None:
    """Close the content of a response, if it can be closed (PEP 3333)."""
    if (close := getattr(content, "close", None)) is not None:
        close()
