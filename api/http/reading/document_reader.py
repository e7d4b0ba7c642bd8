"""Read documents: small JSON in this process, YAML and all else in a child process with limits.

Parsing and validating take time in which this process could not answer predictions, and memory.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from flask import current_app
from pydantic import BaseModel

from api.http.bodies import parse_document, read_document_body
from api.http.validation import Parsed, validate
from shared.errors import InvalidRequest, Overloaded
from shared.processes.child import ChildFailed
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool
from shared.processes.refusals import Refusal

CONFIG_KEY = "DOCUMENT_READER"
"""The key of the reader in the config of the app."""
MAX_BYTES_HERE = 2**14
"""The largest JSON document that is read in this process, in a few milliseconds."""
READING_SECONDS = 10.0
WAIT_SECONDS = 10.0
MAX_WAITING = 16


class ReadingRequest(BaseModel):
    """The head of a message to the reading process; its payload is the document.

    Attributes:
        module: the module of the pydantic model to validate; None to validate nothing.
        model: the name of the model.
        pointers: the places of a YAML document to find.
    """

    module: str | None
    model: str = ""
    is_yaml: bool
    pointers: tuple[str, ...] = ()


class ReadingAnswer(BaseModel):
    """The head of the answer; its payload is the document as JSON, or empty if it is refused.

    `places` are the lines and columns of the pointers that were asked for.
    """

    refusal: Refusal | None = None
    places: dict[str, tuple[int, int]] = {}


class DocumentReader:
    """Reads documents, for several threads.

    Args:
        max_waiting: the most documents that wait for the process.
        command: command line of the process; by default, that of `api.http.reading.document_process`.
    """

    def __init__(
        self,
        max_waiting: int = MAX_WAITING,
        command: Sequence[str] = (sys.executable, "-m", "api.http.reading.document_process"),
    ) -> None:
        self._pool = ProcessPool("reading a document", command, 1, max_waiting, WAIT_SECONDS, Overloaded)

    def start(self) -> None:
        """Start the process without waiting for it. Otherwise, it starts with the first document."""
        self._pool.start()

    def close(self) -> None:
        """End the process."""
        self._pool.close()

    def read(self, model: type[Parsed], body: bytes, *, is_yaml: bool) -> Parsed:
        """Parse and validate a document. Raises MalformedRequest, InvalidRequest, RequestTooLarge or Overloaded."""
        if not is_yaml and len(body) <= MAX_BYTES_HERE:
            return validate(model, parse_document(body, is_yaml=False))
        request = ReadingRequest(module=model.__module__, model=model.__qualname__, is_yaml=is_yaml)
        return model.model_validate_json(self._ask(request, body)[1])

    def read_with_places(
        self, body: bytes, pointers: Sequence[str], *, is_yaml: bool
    ) -> tuple[Any, dict[str, tuple[int, int]]]:
        """Parse a document without validating it. Return it, and line and column of each pointer, if it is YAML.

        Raises the errors of `read`.
        """
        answer, payload = self._ask(ReadingRequest(module=None, is_yaml=is_yaml, pointers=tuple(pointers)), body)
        return json.loads(payload), answer.places

    def _ask(self, request: ReadingRequest, body: bytes) -> tuple[ReadingAnswer, bytes]:
        try:
            head, payload = self._pool.ask(Message(request.model_dump_json().encode(), body), READING_SECONDS)
        except ChildFailed as failure:
            raise InvalidRequest(f"The document cannot be read: {failure}. Send a smaller one.") from failure
        answer = ReadingAnswer.model_validate_json(head)
        if answer.refusal is not None:
            raise answer.refusal.to_error()
        return answer, payload


def read_document(model: type[Parsed]) -> Parsed:
    """Read the body of the request as a document.

    Raises UnsupportedContent, RequestTooLarge, MalformedRequest, InvalidRequest or Overloaded.
    """
    body, is_yaml = read_document_body()
    reader: DocumentReader = current_app.config[CONFIG_KEY]
    return reader.read(model, body, is_yaml=is_yaml)
