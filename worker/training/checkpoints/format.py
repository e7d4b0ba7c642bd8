"""Read and write the file of a checkpoint."""

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


@dataclass
class TrainingState:
    """How far a training has come: whole epochs, batches of the next one, and what those came to.

    `seconds` is how long `job` has trained so far; `finished` is true once no epoch is to follow.
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
        """Count one more whole epoch, with its metrics."""
        self.epoch, self.batch, self.finished = self.epoch + 1, 0, finished
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))


@dataclass
class SavedState:
    """What a checkpoint holds; no variables where there is none."""

    state: TrainingState
    variables: list[NDArray[Any]] | None = None
    metrics: list[NDArray[Any]] = field(default_factory=list)
    stopping: list[dict[str, Any]] = field(default_factory=list)
    logs: bytes = b""


def read_checkpoint(path: Path) -> SavedState:
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
    indices = [name for name in arrays if name.rpartition("-")[0] == prefix]
    return [arrays[name] for name in sorted(indices, key=lambda name: int(name.rpartition("-")[2]))]


def to_plain_value(value: Any) -> Any:  # noqa: ANN401 - a number, of Python or of NumPy
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def zip_folder(folder: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="trainyard-") as target:
        return Path(shutil.make_archive(f"{target}/logs", "zip", folder)).read_bytes()
