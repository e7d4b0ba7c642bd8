"""Write a network for LiteRT, in float32 or with 8 bits, and run the file, in a process of its own.

The converter ends its process on some networks, for example when it looks for the ranges of a recurrent layer.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shared.errors import ExportNotPossible, Overloaded
from shared.processes.child import ChildFailed, ChildNotStarted, ChildProcess, ChildTimedOut
from shared.processes.messages import Message
from shared.spec.export import ExportFormat
from worker.exports.formats import ExportSource, write_saved_model_folder

CONVERSION_SECONDS = 1800.0


class LiteRequest(BaseModel):
    """A request to the process: to convert a SavedModel, or to run a file.

    Attributes:
        path: the LiteRT file.
        saved_model: the folder to convert; None to run the file.
        inputs: an .npy file, (n, *input_shape) float32: the rows to run, or those from which the ranges of 8 bits are
            chosen. None for a conversion to float32.
        outputs: the .npy file to write when the file is run.
    """

    path: Path
    saved_model: Path | None = None
    inputs: Path | None = None
    outputs: Path | None = None


class LiteAnswer(BaseModel):
    """The answer of the process. `refusal` is the reason for which LiteRT cannot compute the network."""

    refusal: str | None = None


class LiteRuntime:
    """Converts networks for LiteRT, and runs the files."""

    def __init__(self) -> None:
        self._process = ChildProcess("LiteRT", (sys.executable, "-m", "worker.exports.lite_process"))

    def close(self) -> None:
        """End the process."""
        self._process.end()

    def write(self, source: ExportSource, calibration: NDArray[np.float32] | None = None) -> Path:
        """Write the network, and return the path of the file.

        The file takes any number of rows; if LiteRT cannot compute the network so, as many recurrent layers, one row.

        `calibration` are inputs of the network, (n, *input_shape): from their values, the ranges of 8 bits are chosen.
        Without them, the file computes in float32. Inputs and outputs are float32 in both. Raises ExportNotPossible.
        """
        path = source.get_path(ExportFormat.TFLITE if calibration is None else ExportFormat.TFLITE_INT8)
        refusal = self._convert(source, path, None, calibration)
        if refusal is not None:
            refusal = self._convert(source, path, 1, calibration)
        if refusal is not None:
            raise ExportNotPossible(
                f"LiteRT cannot compute this network: {refusal} Export it to another format, such as `saved_model`."
            )
        return path

    def run(self, path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the outputs of a file, (n, outputs) float32. Raises ExportNotPossible."""
        with TemporaryDirectory(dir=path.parent) as folder:
            request = LiteRequest(path=path, inputs=Path(folder, "inputs.npy"), outputs=Path(folder, "outputs.npy"))
            np.save(Path(folder, "inputs.npy"), inputs)
            if (refusal := self._ask(request)) is not None:
                raise ExportNotPossible(
                    f"LiteRT cannot run the file that it has written: {refusal} Export to another format, such as "
                    "`saved_model`."
                )
            outputs: NDArray[np.float32] = np.load(Path(folder, "outputs.npy"), allow_pickle=False)
            return outputs

    def _convert(
        self, source: ExportSource, path: Path, batch_size: int | None, calibration: NDArray[np.float32] | None
    ) -> str | None:
        """Convert the network. Returns the reason for which LiteRT refuses it; None if the file is written."""
        with TemporaryDirectory(dir=source.folder) as folder:
            saved_model, rows = Path(folder, "saved_model"), Path(folder, "calibration.npy")
            write_saved_model_folder(source.network, saved_model, batch_size)
            if calibration is not None:
                np.save(rows, calibration)
            inputs = rows if calibration is not None else None
            return self._ask(LiteRequest(path=path, saved_model=saved_model, inputs=inputs))

    def _ask(self, request: LiteRequest) -> str | None:
        """Return the reason for which the process refuses; None if it has done it. Raises Overloaded."""
        try:
            answer = self._process.ask(Message(request.model_dump_json().encode()), CONVERSION_SECONDS)
        except ChildNotStarted as failure:
            self._process.end()
            raise Overloaded(f"{failure}. The machine is busy.") from failure
        except ChildTimedOut:
            self._process.end()
            return f"the conversion took longer than {CONVERSION_SECONDS:g} s."
        except ChildFailed:
            self._process.end()
            return "its converter ended the process."
        return LiteAnswer.model_validate_json(answer.head).refusal
