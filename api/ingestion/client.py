"""Convert uploaded files in child processes with limits."""

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, Field

from api.ingestion.models.model_files import ModelFile
from api.ingestion.prediction_upload import PredictionInputs
from api.ingestion.result import ParsedDataset, TableOptions, UploadLimits, dataset_error
from shared.errors import Overloaded
from shared.preprocessing.contract import Contract
from shared.processes.child import ChildFailed
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool
from shared.processes.refusals import Refusal

PROCESSES = 2
MAX_WAITING = 8
WAIT_SECONDS = 60.0
INGESTION_SECONDS = 6 * 3600.0
UPLOADED_FILE = "upload"


class DatasetRequest(BaseModel):
    """Convert a file to a data set."""

    kind: Literal["dataset"] = "dataset"
    file: Path
    folder: Path
    limits: UploadLimits
    options: TableOptions


class PredictionRequest(BaseModel):
    """Convert a file to the inputs of a batch prediction."""

    kind: Literal["prediction"] = "prediction"
    file: Path
    folder: Path
    limits: UploadLimits
    contract: Contract
    columns: tuple[str, ...]
    encoding: str | None


class ModelRequest(BaseModel):
    """Read a model file."""

    kind: Literal["model"] = "model"
    file: Path
    folder: Path
    limits: UploadLimits


Request = DatasetRequest | PredictionRequest | ModelRequest


class IngestionRequest(BaseModel):
    """The head of a message to an ingestion process."""

    request: Annotated[Request, Field(discriminator="kind")]


class IngestionAnswer(BaseModel):
    """The head of the answer. Exactly one of the fields is set."""

    dataset: ParsedDataset | None = None
    inputs: PredictionInputs | None = None
    model: ModelFile | None = None
    refusal: Refusal | None = None


class Ingestor:
    """Converts uploaded files, for several threads.

    Args:
        limits: limits on an upload.
        pool: the processes; by default PROCESSES of `api.ingestion.process`, which start with the first uploads.
    """

    def __init__(self, limits: UploadLimits, pool: ProcessPool | None = None) -> None:
        self.limits = limits
        self._pool = pool or make_pool()

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def ingest_dataset(self, stream: IO[bytes], options: TableOptions, folder: Path) -> ParsedDataset:
        """Convert a CSV, a zip of images or an npz file, and write the files of the data set to the folder.

        Raises DatasetRefused, with the rows or members at fault, or Overloaded.
        """
        file = _locate(stream, folder)
        answer = self._ask(DatasetRequest(file=file, folder=folder, limits=self.limits, options=options))
        assert answer.dataset is not None  # noqa: S101 - the answer to this request
        return answer.dataset

    def ingest_prediction_inputs(
        self, stream: IO[bytes], contract: Contract, columns: Sequence[str], encoding: str | None, folder: Path
    ) -> PredictionInputs:
        """Convert a zip, a CSV or an npz file, and write the files of the inputs to the folder.

        `columns` are the names of the columns that the version was trained on, or empty if they have none. `encoding`
        is that of the text; None to tell it.
        Raises DatasetRefused for a file that does not fit the version or whose inputs cannot be determined, or
        Overloaded.
        """
        file = _locate(stream, folder)
        answer = self._ask(
            PredictionRequest(
                file=file,
                folder=folder,
                limits=self.limits,
                contract=contract,
                columns=tuple(columns),
                encoding=encoding,
            )
        )
        assert answer.inputs is not None  # noqa: S101 - the answer to this request
        return answer.inputs

    def read_model(self, stream: IO[bytes], folder: Path) -> ModelFile:
        """Read a model file of Keras, and write its arrays to the folder. Raises InvalidRequest or Overloaded."""
        answer = self._ask(ModelRequest(file=_locate(stream, folder), folder=folder, limits=self.limits))
        assert answer.model is not None  # noqa: S101 - the answer to this request
        return answer.model

    def _ask(self, request: Request) -> IngestionAnswer:
        """Convert a file in a process. Raises DatasetRefused, also if the process ends, or Overloaded."""
        head = IngestionRequest(request=request).model_dump_json().encode()
        try:
            answer = IngestionAnswer.model_validate_json(self._pool.ask(Message(head), INGESTION_SECONDS).head)
        except ChildFailed as failure:
            raise dataset_error(
                f"The file cannot be read: {failure}. It is damaged or too large: create it again, or send less of it."
            ) from failure
        if answer.refusal is not None:
            raise answer.refusal.to_error()
        return answer


def make_pool(command: Sequence[str] = (sys.executable, "-m", "api.ingestion.process")) -> ProcessPool:
    return ProcessPool("reading an upload", command, PROCESSES, MAX_WAITING, WAIT_SECONDS, Overloaded)


def _locate(stream: IO[bytes], folder: Path) -> Path:
    """Return a path of an uploaded file for another process. The file itself has no name."""
    processes = Path("/proc")
    with contextlib.suppress(OSError):  # a file in memory has no number
        number = stream.fileno()  # writes a file that is still in memory to the disk
        stream.flush()
        if processes.exists():
            return processes / str(os.getpid()) / "fd" / str(number)
    path = folder / UPLOADED_FILE
    stream.seek(0)
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return path
