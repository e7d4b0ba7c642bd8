"""Define the content of a checkpoint, and read its file."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.spec.training import Precision

BEST_WEIGHTS = "best"
"""Prefix of the names of the arrays with the best weights of an EarlyStopping callback."""


@dataclass
class TrainingState:
    """The progress of a training.

    Attributes:
        job: id of the job that `seconds` belongs to.
        epoch: number of complete epochs.
        batch: number of batches of the next epoch.
        seconds: training time of `job` so far.
        finished: whether the training was stopped, so that no further epoch follows.
        precision: None until it is chosen.
        history: values of all complete epochs for each metric.
        batch_logs: metrics after the last batch of the incomplete epoch.
    """

    job: str = ""
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    finished: bool = False
    precision: Precision | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    batch_logs: dict[str, float] = field(default_factory=dict)

    def add_epoch(self, logs: Mapping[str, float], *, finished: bool) -> None:
        """Count one more complete epoch, and append its metrics to the history."""
        self.epoch, self.batch, self.finished = self.epoch + 1, 0, finished
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))


@dataclass
class SavedState:
    """The content of a checkpoint.

    Attributes:
        variables: the variables of the network and of the optimizer; None without a checkpoint.
        metrics: the variables of the metrics in an incomplete epoch; empty after a complete one.
        stopping: the state of each callback that monitors.
        logs: zip of the logs for TensorBoard; empty without logs.
    """

    state: TrainingState
    variables: list[NDArray[Any]] | None = None
    metrics: list[NDArray[Any]] = field(default_factory=list)
    stopping: list[dict[str, Any]] = field(default_factory=list)
    logs: bytes = b""


def read_checkpoint(path: Path) -> SavedState:
    """Read a checkpoint file. Raises OSError, EOFError, ValueError, KeyError or BadZipFile if the file is damaged."""
    with np.load(path, allow_pickle=False) as arrays:
        document = json.loads(arrays["state"].tobytes())
        state = document["position"]
        if state["precision"] is not None:
            state["precision"] = Precision(state["precision"])
        return SavedState(
            state=TrainingState(**state),
            variables=_collect_numbered(arrays, "variable"),
            metrics=_collect_numbered(arrays, "metric"),
            stopping=[
                {**state, "best_weights": _collect_numbered(arrays, f"{BEST_WEIGHTS}-{number}") or None}
                for number, state in enumerate(document["stopping"])
            ],
            logs=arrays["logs"].tobytes(),
        )


def _collect_numbered(arrays: Mapping[str, NDArray[Any]], prefix: str) -> list[NDArray[Any]]:
    """Return the arrays `prefix-0`, `prefix-1` and so on, in numeric order."""
    indices = [name for name in arrays if name.rpartition("-")[0] == prefix]
    return [arrays[name] for name in sorted(indices, key=lambda name: int(name.rpartition("-")[2]))]


def to_plain_value(value: Any) -> Any:  # noqa: ANN401 - a number of Python or NumPy
    """Convert a number of NumPy to one of Python, which JSON can represent. Returns other values unchanged."""
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def zip_folder(folder: Path) -> bytes:
    """Return the content of a folder as a zip file."""
    with tempfile.TemporaryDirectory(prefix="trainyard-") as target:
        return Path(shutil.make_archive(f"{target}/logs", "zip", folder)).read_bytes()
