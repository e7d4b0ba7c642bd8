"""Parse and validate documents in a process with limits. Usage: `python -m api.http.reading.document_process`.

The process answers a ReadingRequest with a ReadingAnswer.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Callable

from pydantic import BaseModel

from api.http.bodies import parse_document
from api.http.reading.document_reader import ReadingAnswer, ReadingRequest
from api.http.reading.yaml_places import find_places
from api.http.validation import validate
from shared.errors import InvalidRequest, MalformedRequest, ServiceError
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message
from shared.processes.refusals import Refusal
from shared.system import trim_heap

MAX_BYTES = 256 * 2**20
MAX_CPU_SECONDS = 8


def prepare() -> Callable[[Message], Message]:
    """Return the function that answers a message."""
    limits = ProcessLimits()

    def respond(message: Message) -> Message:
        request = ReadingRequest.model_validate_json(message.head)
        model: type[BaseModel] | None = None
        if request.module is not None:  # before the memory is limited: a module can import much
            is_new = request.module not in sys.modules
            model = getattr(importlib.import_module(request.module), request.model)
            if is_new:
                limits.measure()
        try:
            with limits.hold(MAX_BYTES, MAX_CPU_SECONDS):
                document = parse_document(message.payload, is_yaml=request.is_yaml)
                if model is not None:
                    validate(model, document)
                places = find_places(message.payload, request.pointers) if request.is_yaml and request.pointers else {}
                return Message(ReadingAnswer(places=places).model_dump_json().encode(), json.dumps(document).encode())
        except ServiceError as refused:
            error = refused
        except MemoryError:
            error = InvalidRequest(
                f"The document takes more than {MAX_BYTES // 2**20} MiB to read. Send a smaller one."
            )
        except Exception as unexpected:  # noqa: BLE001 - the parser of YAML raises every kind for some tags
            traceback.print_exc()
            error = MalformedRequest(f"The document cannot be read: {type(unexpected).__name__}.")
        finally:
            trim_heap()
        return Message(ReadingAnswer(refusal=Refusal.from_error(error)).model_dump_json().encode())

    return respond


if __name__ == "__main__":
    serve_messages(prepare)
