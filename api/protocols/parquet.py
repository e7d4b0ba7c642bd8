"""`python -m api.protocols.parquet LIMIT`: reads parquet from standard input and writes it as MLflow's frame in JSON.

A process of its own: a file of some kilobytes may say that it unpacks to terabytes, or be made to end its reader.
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
MAX_SECONDS = 10
MAX_WAITING = 16
_TOO_LARGE = 3


class _File:
    """`frame` is there once it was read."""

    is_quick = False

    def __init__(self, content: bytes, limit: int) -> None:
        self.content = content
        self.limit = limit
        self.frame: dict[str, Any] = {}

    @property
    def kind(self) -> Hashable:
        return self


def read_parquet(content: bytes, limit: int) -> dict[str, Any]:
    """`columns` are names, `data` the rows; bytes are base64. Not more than `limit` bytes of JSON. One file at a time.

    Raises MalformedRequest, or Overloaded where too many are to be read, or others for too long.
    """
    file = _File(content, limit)
    _turns.do(file)
    return file.frame


def _read_files(files: Sequence[_File]) -> None:
    for file in files:
        file.frame = _run_reader(file.content, file.limit)


_turns = DynamicBatcher[_File](1, MAX_WAITING, MAX_SECONDS, _read_files)


def _run_reader(content: bytes, limit: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "api.protocols.parquet", str(limit)]
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


def main(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    from arro3.io import read_parquet as open_parquet  # within the limit

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
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main(int(sys.argv[1]))
