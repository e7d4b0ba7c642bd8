"""Parse and validate documents in a process with limits. Usage: `python -m api.http.reading_process`.

The process answers a ReadingRequest with a ReadingAnswer.
"""

import importlib
import json
from collections.abc import Callable

from pydantic import BaseModel

from api.http.bodies import parse_document
from api.http.document_reader import ReadingAnswer, ReadingRequest
from api.http.validation import validate
from shared.errors import InvalidRequest, MalformedRequest
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message

MAX_BYTES = 256 * 2**20
MAX_CPU_SECONDS = 8


def prepare() -> Callable[[Message], Message]:
    """Return the function that answers a message."""
    limits = ProcessLimits()

    def respond(message: Message) -> Message:
        request = ReadingRequest.model_validate_json(message.head)
        model: type[BaseModel] = getattr(importlib.import_module(request.module), request.model)
        try:
            with limits.hold(MAX_BYTES, MAX_CPU_SECONDS):
                document = parse_document(message.payload, is_yaml=request.is_yaml)
                validate(model, document)
        except MalformedRequest as refused:
            answer = ReadingAnswer(refused_as="malformed", detail=refused.detail, faults=refused.faults)
        except InvalidRequest as refused:
            answer = ReadingAnswer(refused_as="invalid", detail=refused.detail, faults=refused.faults)
        except MemoryError:
            detail = f"The document takes more than {MAX_BYTES // 2**20} MiB to read. Send a smaller one."
            answer = ReadingAnswer(refused_as="invalid", detail=detail)
        else:
            return Message(ReadingAnswer().model_dump_json().encode(), json.dumps(document).encode())
        return Message(answer.model_dump_json().encode())

    return respond


if __name__ == "__main__":
    serve_messages(prepare)
