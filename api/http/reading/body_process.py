"""Parse JSON and CSV in a process with limits. Usage: `python -m api.http.reading.body_process`.

The process answers a ParsingRequest with a ParsingAnswer.
"""

import gc
from collections.abc import Callable

from api.http.bodies import read_json
from api.http.reading.body_reader import ParsingAnswer, ParsingRequest, parse_json
from api.http.reading.csv_numbers import MAX_VALUES, parse_csv
from api.http.reading.csv_texts import parse_text_csv
from api.http.reading.json_arrays import ArrayPlace, SplitJson, dump_values, split_arrays
from shared.errors import InvalidRequest, RequestTooLarge, ServiceError
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
    gc.disable()  # it would look again and again for cycles in millions of lists, which have none

    def respond(message: Message) -> Message:
        request = ParsingRequest.model_validate_json(message.head)
        try:
            with limits.hold(MAX_BYTES, MAX_CPU_SECONDS):
                return _make_answer(_parse(request, message.payload))
        except ServiceError as refused:
            answer = ParsingAnswer(refusal=Refusal.from_error(refused))
        except MemoryError:
            detail = f"The body takes more than {MAX_BYTES // 2**20} MiB to read. Send fewer inputs in a request."
            answer = ParsingAnswer(refusal=Refusal.from_error(InvalidRequest(detail)))
        except (ValueError, RecursionError) as error:
            answer = ParsingAnswer(malformed=(str(error), getattr(error, "pos", 0)))
        finally:
            trim_heap()
        return Message(answer.model_dump_json().encode())

    return respond


def _parse(request: ParsingRequest, body: bytes) -> SplitJson:
    """Parse the body. Raises ServiceError, ValueError or RecursionError."""
    if request.kind == "CSV":
        numbers = parse_csv(body, request.columns, request.encodings, request.decimal)
        place = ArrayPlace(path=(), dtype=numbers.dtype.str, shape=numbers.shape)
        return SplitJson(None, [place], [numbers])
    if request.kind == "text CSV":
        return SplitJson(parse_text_csv(body, request.columns), [], [])
    if body.count(b",") >= MAX_VALUES:
        raise RequestTooLarge(
            f"The JSON has more than {MAX_VALUES:,} values, the limit. Send fewer inputs in a request, or images as "
            "files instead of numbers."
        )
    return split_arrays(read_json(body, MAX_VALUES) if request.kind == "strict JSON" else parse_json(body))


def _make_answer(split: SplitJson) -> Message:
    rest = dump_values(split.document)
    answer = ParsingAnswer(document_bytes=len(rest), places=split.places)
    return Message(answer.model_dump_json().encode(), b"".join((rest, *(array.tobytes() for array in split.arrays))))


if __name__ == "__main__":
    serve_messages(prepare)
