"""`python -m api.parquet LIMIT`: reads parquet from standard input, and writes it as the frame that MLflow has in JSON.

A process of its own: a file of some kilobytes may say that it unpacks to terabytes, or be made to end its reader.
"""

import base64
import io
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson

from shared.errors import MalformedRequest, Overloaded

MAX_MEMORY_BYTES = 2**30
MAX_SECONDS = 10
MOST_WAITING = 16
_places = threading.BoundedSemaphore(MOST_WAITING)
_one_at_a_time = threading.Lock()
_TOO_LARGE = 3


def read_parquet(content: bytes, limit: int) -> dict[str, Any]:
    """`columns` are names, `data` the rows; bytes are base64. Not more than `limit` bytes of JSON.

    Raises MalformedRequest, or Overloaded where too many are to be read, or others for too long.
    """
    command = [sys.executable, "-m", "api.parquet", str(limit)]
    with _turn():
        try:
            reading = subprocess.run(command, input=content, capture_output=True, timeout=MAX_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise MalformedRequest(f"Invalid input. The parquet file takes over {MAX_SECONDS} s to read.") from None
    if reading.returncode == _TOO_LARGE:
        raise MalformedRequest(f"Invalid input. The parquet file holds more than {limit:,} bytes of JSON: send parts.")
    if reading.returncode != 0:
        raise MalformedRequest(
            f"Invalid input. The parquet file cannot be read, or takes more than {MAX_MEMORY_BYTES:,} bytes of memory."
        )
    return cast(dict[str, Any], orjson.loads(reading.stdout))


@contextmanager
def _turn() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise Overloaded("More parquet files wait here than can be read soon: try again in a moment.")
    try:
        if not _one_at_a_time.acquire(timeout=MAX_SECONDS):
            raise Overloaded("Other parquet files take long to read: try again in a moment.")
        try:
            yield
        finally:
            _one_at_a_time.release()
    finally:
        _places.release()


def main(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    from arro3.io import read_parquet as open_parquet  # within the limit

    reader = open_parquet(io.BytesIO(sys.stdin.buffer.read()))
    names = list(reader.schema.names)
    left = limit
    parts = []
    for batch in reader:
        columns = [batch.column(place).to_pylist() for place in range(len(names))]
        part = orjson.dumps(list(zip(*columns, strict=True)), default=_as_text)
        left -= len(part)
        if left < 0:
            sys.exit(_TOO_LARGE)
        parts.append(part[1:-1])
    sys.stdout.buffer.write(b'{"columns":%s,"data":[%s]}' % (orjson.dumps(names), b",".join(filter(None, parts))))


def _as_text(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main(int(sys.argv[1]))
