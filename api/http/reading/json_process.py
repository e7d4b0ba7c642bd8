"""Parse JSON in a process with limits. Usage: `python -m api.http.reading.json_process`.

The process answers a JsonRequest with a JsonAnswer.
"""

from collections.abc import Callable

from api.http.bodies import read_json
from api.http.reading.json_arrays import dump_values, split_arrays
from api.http.reading.json_reader import JsonAnswer, JsonRequest, parse_json
from shared.errors import InvalidRequest, RequestTooLarge, ServiceError
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message
from shared.processes.refusals import Refusal
from shared.system import trim_heap

MAX_VALUES = 4_000_000
MAX_BYTES = 320 * 2**20
MAX_CPU_SECONDS = 8


def prepare() -> Callable[[Message], Message]:
    """Return the function that answers a message."""
    limits = ProcessLimits()

    def respond(message: Message) -> Message:
        request = JsonRequest.model_validate_json(message.head)
        try:
            with limits.hold(MAX_BYTES, MAX_CPU_SECONDS):
                return _answer(message.payload, is_strict=request.is_strict)
        except ServiceError as refused:
            answer = JsonAnswer(refusal=Refusal.from_error(refused))
        except MemoryError:
            detail = f"The JSON takes more than {MAX_BYTES // 2**20} MiB to read. Send fewer inputs in a request."
            answer = JsonAnswer(refusal=Refusal.from_error(InvalidRequest(detail)))
        except (ValueError, RecursionError) as error:
            answer = JsonAnswer(malformed=(str(error), getattr(error, "pos", 0)))
        finally:
            trim_heap()
        return Message(answer.model_dump_json().encode())

    return respond


def _answer(body: bytes, *, is_strict: bool) -> Message:
    """Parse the body. Raises ServiceError, ValueError or RecursionError."""
    if body.count(b",") >= MAX_VALUES:
        raise RequestTooLarge(
            f"The JSON has more than {MAX_VALUES:,} values, the limit. Send fewer inputs in a request, or images as "
            "files instead of numbers."
        )
    split = split_arrays(read_json(body, MAX_VALUES) if is_strict else parse_json(body))
    rest = dump_values(split.document)
    answer = JsonAnswer(document_bytes=len(rest), places=split.places)
    return Message(answer.model_dump_json().encode(), b"".join((rest, *(array.tobytes() for array in split.arrays))))


if __name__ == "__main__":
    serve_messages(prepare)
