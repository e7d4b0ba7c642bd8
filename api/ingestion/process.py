"""Convert uploaded files in a process with limits. Usage: `python -m api.ingestion.process`.

The process answers an IngestionRequest with an IngestionAnswer. It is a separate process because an upload can be large
or hostile, and because reading it takes time in which the API could not answer predictions.
"""

import traceback
from collections.abc import Callable

from api.ingestion.client import IngestionAnswer, IngestionRequest, ModelRequest, PredictionRequest, Request
from api.ingestion.dataset_upload import ingest_dataset
from api.ingestion.images.image_folders import THREADS
from api.ingestion.models.model_files import read_model_file
from api.ingestion.prediction_upload import ingest_prediction_inputs
from api.ingestion.result import UploadLimits, dataset_error
from shared.errors import DiskFull, ServiceError
from shared.preprocessing.image_decoder import ImageDecoder
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message
from shared.processes.refusals import Refusal
from shared.storage.disk import FULL, DiskReserve
from shared.system import trim_heap

BASE_BYTES = 160 * 2**20
BYTES_PER_ROW = 64
BYTES_PER_FILE = 1536
"""A process may take BASE_BYTES, and these bytes for each row of a table or each file of a zip that is allowed."""
DECODING_WAIT_SECONDS = 3600.0
"""The longest time that an image waits for the decoding processes of this process: only its own threads wait."""


def prepare() -> Callable[[Message], Message]:
    """Return the function that answers a message."""
    limits = ProcessLimits()

    def respond(message: Message) -> Message:
        request = IngestionRequest.model_validate_json(message.head).request
        max_bytes = count_allowed_bytes(request.limits)
        error: ServiceError
        try:
            reserve = DiskReserve(request.folder, request.limits.reserved_bytes)
            with limits.hold(max_bytes, None), reserve.watch():
                return Message(_ingest(request).model_dump_json().encode())
        except ServiceError as refused:
            error = refused
        except MemoryError:
            error = dataset_error(
                f"The file takes more than {max_bytes // 2**20} MiB of memory to read. Send a smaller file."
            )
        except Exception as unexpected:  # noqa: BLE001 - NumPy and zipfile raise every kind for damaged files
            traceback.print_exc()
            error = dataset_error(f"The file cannot be read ({type(unexpected).__name__}). Create it again.")
            if isinstance(unexpected, OSError) and unexpected.errno in FULL:
                error = DiskFull("The disk became full while the file was read. Delete versions, jobs or data sets.")
        finally:
            trim_heap()
        return Message(IngestionAnswer(refusal=Refusal.from_error(error)).model_dump_json().encode())

    return respond


def count_allowed_bytes(limits: UploadLimits) -> int:
    """Return the memory that reading a file may take."""
    return BASE_BYTES + max(BYTES_PER_ROW * limits.rows, BYTES_PER_FILE * limits.files)


def _ingest(request: Request) -> IngestionAnswer:
    if isinstance(request, ModelRequest):
        return IngestionAnswer(model=read_model_file(request.file, request.limits, request.folder))
    with request.file.open("rb") as stream:
        if isinstance(request, PredictionRequest):
            inputs = ingest_prediction_inputs(
                stream, request.contract, request.columns, request.encoding, request.limits, request.folder
            )
            return IngestionAnswer(inputs=inputs)
        decoder = ImageDecoder(request.limits.images, parallel_here=THREADS, wait_seconds=DECODING_WAIT_SECONDS)
        try:
            return IngestionAnswer(
                dataset=ingest_dataset(stream, request.options, request.limits, decoder, request.folder)
            )
        finally:
            decoder.close()


if __name__ == "__main__":
    serve_messages(prepare)
