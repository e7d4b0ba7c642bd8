"""Parse the JSON of prediction requests: small ones in this process, large ones with many values in a child process.

The parser holds Python's lock, so that no other thread can answer meanwhile, and each number takes up to 32 bytes.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel

from api.http.bodies import read_json
from api.http.reading.json_arrays import ArrayPlace, join_arrays, load_values
from shared.errors import InvalidRequest, Overloaded
from shared.processes.child import ChildFailed
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool
from shared.processes.refusals import Refusal

MAX_BYTES_HERE = 2**20
MAX_COMMAS_HERE = 20_000
"""JSON of more bytes and more commas is parsed in the process. A few large strings, such as images, are parsed here."""
PARSING_SECONDS = 10.0
WAIT_SECONDS = 10.0
MAX_WAITING = 16


class JsonRequest(BaseModel):
    """The head of a message to the parsing process; its payload is the JSON. `JsonReader.read` explains `is_strict`."""

    is_strict: bool


class JsonAnswer(BaseModel):
    """The head of the answer. Its payload is the rest of the document, `document_bytes` long, and the arrays.

    Attributes:
        malformed: message and position of the first fault; None if the body is JSON.
    """

    refusal: Refusal | None = None
    malformed: tuple[str, int] | None = None
    document_bytes: int = 0
    places: list[ArrayPlace] = []


class MalformedJson(ValueError):
    """Raised for a body that is not JSON. `pos` is the position of the fault, as in `json.JSONDecodeError`."""

    def __init__(self, message: str, pos: int) -> None:
        super().__init__(message)
        self.pos = pos


class JsonReader:
    """Parses JSON, for several threads.

    Args:
        max_waiting: the most bodies that wait for the process.
        command: command line of the process; by default, that of `api.http.reading.json_process`.
    """

    def __init__(
        self,
        max_waiting: int = MAX_WAITING,
        command: Sequence[str] = (sys.executable, "-m", "api.http.reading.json_process"),
    ) -> None:
        self._pool = ProcessPool("parsing JSON", command, 1, max_waiting, WAIT_SECONDS, Overloaded)

    def close(self) -> None:
        """End the process."""
        self._pool.close()

    def read(self, body: bytes, *, is_strict: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Parse JSON. Long regular lists of numbers can be arrays instead, as `split_arrays` makes them.

        Raises ValueError or RecursionError for a body that is not JSON; with `is_strict`, MalformedRequest, also for
        duplicate keys. Raises RequestTooLarge for too many values, or Overloaded.
        """
        if len(body) <= MAX_BYTES_HERE or body.count(b",") <= MAX_COMMAS_HERE:
            return read_json(body) if is_strict else parse_json(body)
        try:
            head, payload = self._pool.ask(
                Message(JsonRequest(is_strict=is_strict).model_dump_json().encode(), body), PARSING_SECONDS
            )
        except ChildFailed as failure:
            raise InvalidRequest(f"The JSON cannot be read: {failure}. Send fewer inputs in a request.") from failure
        answer = JsonAnswer.model_validate_json(head)
        if answer.refusal is not None:
            raise answer.refusal.to_error()
        if answer.malformed is not None:
            raise MalformedJson(*answer.malformed)
        content = memoryview(payload)
        document = load_values(bytes(content[: answer.document_bytes]))
        return join_arrays(document, answer.places, content[answer.document_bytes :])


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON. NaN and Infinity, which orjson rejects, are accepted. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(body)
    except ValueError:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # raises for a lone surrogate, which no reply can contain
        return document
