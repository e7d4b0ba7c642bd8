"""End event streams whose callers have lost their access."""

import time
from typing import TYPE_CHECKING, Protocol, Self

from api.access.callers import Caller
from api.access.gate import Gate
from shared.database.engine import DATABASE_ERRORS
from shared.errors import ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CHECK_SECONDS = 15.0


class Stream(Protocol):
    def __next__(self) -> str: ...

    def close(self) -> None: ...


class AdmittedStream:
    """A stream that ends when its caller is no longer known, or is in other projects, within CHECK_SECONDS.

    `environ` is that of the request. Without the database the stream goes on.
    """

    def __init__(self, stream: Stream, gate: Gate, environ: "WSGIEnvironment", caller: Caller) -> None:
        self._stream, self._gate, self._environ, self._standing = stream, gate, environ, caller.standing
        self._checked_at = time.monotonic()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = time.monotonic()
            if not self._is_admitted():
                self.close()
                raise StopIteration
        return next(self._stream)

    def close(self) -> None:
        """End the stream. A second call has no effect."""
        self._stream.close()

    def _is_admitted(self) -> bool:
        try:
            return self._gate.identify(self._environ).standing == self._standing
        except ServiceError:
            return False
        except DATABASE_ERRORS:
            pass
        return True
