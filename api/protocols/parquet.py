"""Convert parquet to JSON in a separate process. Usage: `python -m api.protocols.parquet MAX_BYTES`.

The process reads a file from standard input and writes it to standard output in the form of MLflow's `dataframe_split`.
It is a separate process because a file of some kilobytes can decompress to terabytes, or be made to crash its reader.
"""

import base64
import io
import resource
import subprocess
import sys
from collections.abc import Hashable, Sequence
from typing import Any, cast

import orjson

from api.serving.batching import DynamicBatcher
from shared.errors import MalformedRequest

MAX_MEMORY_BYTES = 2**30
"""Limit of the address space of the process."""
MAX_SECONDS = 10
"""The longest time in the queue, and the longest time to read a file."""
MAX_WAITING = 16
"""The most files in the queue."""
_TOO_LARGE = 3
"""Exit code of the process if the JSON is larger than allowed."""


class _File:
    """A file in the queue.

    Attributes:
        limit: the largest size of its JSON in bytes.
        frame: the result, empty until the file is read.
    """

    is_quick = False

    def __init__(self, content: bytes, limit: int) -> None:
        self.content = content
        self.limit = limit
        self.frame: dict[str, Any] = {}

    @property
    def kind(self) -> Hashable:
        """Return the file itself: no two files are read in one batch."""
        return self


def read_parquet(content: bytes, limit: int) -> dict[str, Any]:
    """Read a parquet file. `columns` of the result are the names, `data` the rows, with bytes as base64.

    Only one file is read at a time; others wait in a queue. Raises MalformedRequest if the file cannot be read or has
    more than `limit` bytes of JSON, and Overloaded if the queue is full or the file waits too long.
    """
    file = _File(content, limit)
    _batcher.submit(file)
    return file.frame


def _read_files(files: Sequence[_File]) -> None:
    for file in files:
        file.frame = _run_reader(file.content, file.limit)


_batcher = DynamicBatcher[_File](1, MAX_WAITING, MAX_SECONDS, _read_files)


def _run_reader(content: bytes, limit: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "api.protocols.parquet", str(limit)]
    try:
        reading = subprocess.run(command, input=content, capture_output=True, timeout=MAX_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MalformedRequest(
            f"Invalid input. The parquet file takes more than {MAX_SECONDS} s to read. Send it in parts."
        ) from None
    if reading.returncode == _TOO_LARGE:
        raise MalformedRequest(
            f"Invalid input. The parquet file contains more than {limit:,} bytes of JSON. Send it in parts."
        )
    if reading.returncode != 0:
        raise MalformedRequest(
            f"Invalid input. The parquet file cannot be read, or needs more than {MAX_MEMORY_BYTES:,} bytes of memory."
        )
    return cast(dict[str, Any], orjson.loads(reading.stdout))


def main(limit: int) -> None:
    """Convert standard input. Exits with _TOO_LARGE if the rows have more than `limit` bytes of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    from arro3.io import read_parquet as open_parquet  # imported under the limit of memory

    reader = open_parquet(io.BytesIO(sys.stdin.buffer.read()))
    names = list(reader.schema.names)
    left = limit
    parts = []
    for batch in reader:
        columns = [batch.column(index).to_pylist() for index in range(len(names))]
        part = orjson.dumps(list(zip(*columns, strict=True)), default=_to_text)
        left -= len(part)
        if left < 0:
            sys.exit(_TOO_LARGE)
        parts.append(part[1:-1])
    sys.stdout.buffer.write(b'{"columns":%s,"data":[%s]}' % (orjson.dumps(names), b",".join(filter(None, parts))))


def _to_text(value: object) -> str:
    """Convert a value that has no form in JSON: bytes to base64, any other value to its string."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main(int(sys.argv[1]))
