"""Parse JSON and CSV of prediction requests: small bodies in this process, large ones in a child process with limits.

The parsers hold Python's lock, so that no other thread can answer meanwhile, and each number takes up to 90 bytes.
"""

import json
import random
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel

from api.http.bodies import read_json
from api.http.reading.csv_numbers import parse_csv
from api.http.reading.csv_texts import parse_text_csv
from api.http.reading.json_arrays import ArrayPlace, join_arrays, load_values
from shared.datasets.cells import DecimalMark
from shared.datasets.encodings import ColumnEncoding
from shared.errors import InvalidRequest, Overloaded
from shared.processes.child import ChildFailed
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool
from shared.processes.refusals import Refusal

MAX_CSV_BYTES_HERE = 2**16
MAX_BYTES_HERE = 2**20
SLOW_BYTES = b", \n\r\t\\"
STRIDES = (53, 59, 61, 67, 71, 73)
MAX_SLOW_BYTES_HERE = 300
"""Larger JSON with so few commas, spaces and escapes in a sample, each byte at a stride, is also parsed here: it has
large strings, such as images. Nobody can know the stride before."""
PARSING_SECONDS = 10.0
WAIT_SECONDS = 10.0
MAX_WAITING = 16


class ParsingRequest(BaseModel):
    """The head of a message to the parsing process; its payload is the body.

    Attributes:
        kind: what the body is; `strict JSON` is JSON for `is_strict` of `BodyReader.read_json`.
        columns: the columns of a CSV to return.
        encodings: how the cells of these columns become numbers.
        decimal: the decimal mark of numbers that can be read in two ways.
    """

    kind: Literal["JSON", "strict JSON", "CSV", "text CSV"]
    columns: tuple[str, ...] = ()
    encodings: tuple[ColumnEncoding, ...] = ()
    decimal: DecimalMark = "."


class ParsingAnswer(BaseModel):
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


class BodyReader:
    """Parses bodies, for several threads.

    Args:
        max_waiting: the most bodies that wait for the process.
        command: command line of the process; by default, that of `api.http.reading.body_process`.
    """

    def __init__(
        self,
        max_waiting: int = MAX_WAITING,
        command: Sequence[str] = (sys.executable, "-m", "api.http.reading.body_process"),
    ) -> None:
        self._pool = ProcessPool("parsing", command, 1, max_waiting, WAIT_SECONDS, Overloaded)

    def close(self) -> None:
        """End the process."""
        self._pool.close()

    def read_json(self, body: bytes, *, is_strict: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Parse JSON. Long regular lists of numbers can be arrays instead, as `split_arrays` makes them.

        Raises ValueError or RecursionError for a body that is not JSON; with `is_strict`, MalformedRequest, also for
        duplicate keys. Raises RequestTooLarge for too many values, or Overloaded.
        """
        if len(body) <= MAX_BYTES_HERE or _has_few_slow_bytes(body):
            return read_json(body) if is_strict else parse_json(body)
        return self._ask(ParsingRequest(kind="strict JSON" if is_strict else "JSON"), body)

    def read_csv(
        self,
        body: bytes,
        columns: tuple[str, ...],
        encodings: tuple[ColumnEncoding, ...] = (),
        decimal: DecimalMark = ".",
    ) -> NDArray[np.float64]:
        """Parse CSV as `parse_csv` does. Raises the same errors, or Overloaded."""
        if len(body) <= MAX_CSV_BYTES_HERE:
            return parse_csv(body, columns, encodings, decimal)
        request = ParsingRequest(kind="CSV", columns=columns, encodings=encodings, decimal=decimal)
        numbers: NDArray[np.float64] = self._ask(request, body)
        return numbers

    def read_text_csv(self, body: bytes, columns: tuple[str, ...]) -> list[str]:
        """Parse a CSV of texts as `parse_text_csv` does. Raises the same errors, or Overloaded."""
        if len(body) <= MAX_CSV_BYTES_HERE:
            return parse_text_csv(body, columns)
        texts: list[str] = self._ask(ParsingRequest(kind="text CSV", columns=columns), body)
        return texts

    def _ask(self, request: ParsingRequest, body: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            head, payload = self._pool.ask(Message(request.model_dump_json().encode(), body), PARSING_SECONDS)
        except ChildFailed as failure:
            raise InvalidRequest(f"The body cannot be read: {failure}. Send fewer inputs in a request.") from failure
        answer = ParsingAnswer.model_validate_json(head)
        if answer.refusal is not None:
            raise answer.refusal.to_error()
        if answer.malformed is not None:
            raise MalformedJson(*answer.malformed)
        content = memoryview(payload)
        document = load_values(bytes(content[: answer.document_bytes]))
        return join_arrays(document, answer.places, content[answer.document_bytes :])


def _has_few_slow_bytes(body: bytes) -> bool:
    sample = body[:: random.choice(STRIDES)]  # noqa: S311 - no cryptography
    return all(sample.count(byte) <= MAX_SLOW_BYTES_HERE for byte in SLOW_BYTES)


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON. NaN and Infinity, which orjson rejects, are accepted. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(body)
    except ValueError:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # raises for a lone surrogate, which no reply can contain
        return document
