"""Checkpoints: all that a training needs to go on as if it had never ended.

The weights, the optimizer with its step, the random state of the layers and the metrics of a half-done epoch as arrays;
the place in the data, the history, and what early stopping remembers as JSON; the logs for TensorBoard as they stand.
"""

import io
import json
import logging
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from shared.spec.training import Precision
from worker.training.callbacks import Watch

logger = logging.getLogger(__name__)

LEAST_SECONDS = 1.0
LEAST_SECONDS_INSIDE = 5.0
"""Between two checkpoints inside of an epoch: a job whose attempts are lost again and again still comes further."""
COST_FACTOR = 60.0
"""So many times as long as a checkpoint took to write, the training goes on before the next."""
BEST_WEIGHTS = "best"
REMEMBERED = ("wait", "stopped_epoch", "best", "best_epoch")
"""What Keras's EarlyStopping counts."""


class Keeper(Protocol):
    """Where checkpoints are kept, and for which job: a retry goes on from another's."""

    job: str

    def newest(self) -> Path | None: ...

    def save(self, path: Path, epoch: int) -> None: ...

    def forget(self) -> None: ...


class Forgetful:
    """Keeps none."""

    job = ""

    def newest(self) -> Path | None:
        return None

    def save(self, path: Path, epoch: int) -> None:
        pass

    def forget(self) -> None:
        pass


@dataclass
class Position:
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

    def count(self, logs: Mapping[str, float], *, finished: bool) -> None:
        """One more whole epoch."""
        self.epoch, self.batch, self.finished = self.epoch + 1, 0, finished
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))


@dataclass
class _Saved:
    """What a checkpoint holds; no variables where there is none."""

    position: Position
    variables: list[NDArray[Any]] | None = None
    metrics: list[NDArray[Any]] = field(default_factory=list)
    stopping: list[dict[str, Any]] = field(default_factory=list)
    logs: bytes = b""


class Checkpoints:
    """Of one training: where it begins, and when its state is written next."""

    def __init__(self, keeper: Keeper, logs_dir: Path) -> None:
        self._keeper = keeper
        self._logs_dir = logs_dir
        self._network: keras.Model | None = None
        self._stopping: Sequence[keras.callbacks.EarlyStopping] = ()
        self._began = time.monotonic()
        self._written_at = time.monotonic()
        self._pause = LEAST_SECONDS
        self._saved = self._newest()
        self.position = self._saved.position
        if self.position.job != keeper.job:  # a retry has all of its own time
            self.position.job, self.position.seconds = keeper.job, 0.0

    def restore(self, network: keras.Model) -> None:
        """Brings network and optimizer to where the newest checkpoint was; one of another network is forgotten."""
        self._network = network
        variables, values = self._variables(), self._saved.variables
        if values is None:
            return
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            logger.warning("the checkpoint is of another network: the training begins anew")
            self._keeper.forget()
            self._saved = _Saved(Position(self._keeper.job, precision=self.position.precision))
            self.position = self._saved.position
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        logger.info("goes on after epoch %d, batch %d", self.position.epoch, self.position.batch)
        if self._saved.logs:
            self._logs_dir.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(io.BytesIO(self._saved.logs)) as archive:
                archive.extractall(self._logs_dir)

    def resume_callbacks(self, stopping: Sequence[keras.callbacks.EarlyStopping]) -> None:
        """To be called once Keras has reset them, and what they remember is to be brought back."""
        self._stopping = stopping
        for callback, state in zip(stopping, self._saved.stopping, strict=False):  # none, where it begins
            for name, value in state.items():
                setattr(callback, name, value)

    def resume_metrics(self) -> None:
        """Those of the half-done epoch, once Keras has reset them."""
        assert self._network is not None  # noqa: S101 - restored before
        metrics, self._saved.metrics = self._saved.metrics, []
        if metrics:
            for variable, array in zip(self._network.metrics_variables, metrics, strict=True):
                variable.assign(array)

    def trained_seconds(self) -> float:
        return self.position.seconds + time.monotonic() - self._began

    def is_due(self, *, inside_epoch: bool) -> bool:
        return time.monotonic() - self._written_at >= (
            max(self._pause, LEAST_SECONDS_INSIDE) if inside_epoch else self._pause
        )

    def write(self) -> None:
        """Whole or not at all. Raises what the keeper raises."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            path = Path(folder) / "checkpoint.npz"
            np.savez(path, **self._arrays())
            self._keeper.save(path, self.position.epoch)
        self._written_at = time.monotonic()
        self._pause = max(LEAST_SECONDS, COST_FACTOR * (self._written_at - began))

    def _arrays(self) -> dict[str, Any]:
        position = {**vars(self.position), "seconds": self.trained_seconds()}
        states = [{name: _plain(getattr(callback, name)) for name in REMEMBERED} for callback in self._stopping]
        arrays = {f"variable-{place}": variable.numpy() for place, variable in enumerate(self._variables())}
        if self.position.batch:
            metrics = self._network.metrics_variables if self._network is not None else []
            arrays |= {f"metric-{place}": variable.numpy() for place, variable in enumerate(metrics)}
        for number, callback in enumerate(self._stopping):
            best = callback.best_weights or []
            arrays |= {f"{BEST_WEIGHTS}-{number}-{place}": weight for place, weight in enumerate(best)}
        document = json.dumps({"position": position, "stopping": states})
        logs = _zipped(self._logs_dir) if self._logs_dir.exists() else b""
        return arrays | {
            name: np.frombuffer(data, np.uint8) for name, data in (("state", document.encode()), ("logs", logs))
        }

    def _newest(self) -> "_Saved":
        path = self._keeper.newest()
        if path is None:
            return _Saved(Position())
        try:
            return _read(path)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("the checkpoint cannot be read (%s): the training begins anew", error)
            self._keeper.forget()
            return _Saved(Position())

    def _variables(self) -> list[Any]:
        """Weights, random state of layers, and the optimizer's own."""
        assert self._network is not None  # noqa: S101 - restored before
        return [*self._network.variables, *self._network.optimizer.variables]


class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Last of all callbacks: it writes what the others have come to."""

    def __init__(
        self, checkpoints: Checkpoints, stopping: Sequence[keras.callbacks.EarlyStopping], watch: Watch
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._stopping = stopping
        self._watch = watch
        self._skipped = checkpoints.position.batch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._checkpoints.resume_callbacks(self._stopping)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._checkpoints.resume_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        position = self._checkpoints.position
        if batch + 1 <= self._skipped:
            return
        position.batch, position.batch_logs = batch + 1, {name: float(value) for name, value in logs.items()}
        self._write_if_due(inside_epoch=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        self._skipped = 0
        self._checkpoints.position.count(logs, finished=self.model.stop_training)
        self._write_if_due(inside_epoch=False)

    def epochs_done(self) -> None:
        """Whole epochs that ran where no callback is called."""
        self._write_if_due(inside_epoch=False)

    def _write_if_due(self, *, inside_epoch: bool) -> None:
        if self._watch.is_leaving():
            self._checkpoints.write()
            self._watch.leave()
        if self._checkpoints.is_due(inside_epoch=inside_epoch):
            self._checkpoints.write()


def skipping(step: Callable[[Any], Any], executions: int, logs: dict[str, float]) -> Callable[[Any], Any]:
    """Keras's training step for an epoch of which the first executions are done: for those it takes no batch."""
    left = executions

    def run(batches: Any) -> Any:  # noqa: ANN401 - as Keras has it
        nonlocal left
        if left > 0:
            left -= 1
            return logs
        return step(batches)

    return run


def _read(path: Path) -> _Saved:
    with np.load(path, allow_pickle=False) as arrays:
        document = json.loads(arrays["state"].tobytes())
        position = document["position"]
        if position["precision"] is not None:
            position["precision"] = Precision(position["precision"])
        return _Saved(
            position=Position(**position),
            variables=_numbered(arrays, "variable"),
            metrics=_numbered(arrays, "metric"),
            stopping=[
                {**state, "best_weights": _numbered(arrays, f"{BEST_WEIGHTS}-{number}") or None}
                for number, state in enumerate(document["stopping"])
            ],
            logs=arrays["logs"].tobytes(),
        )


def _numbered(arrays: Mapping[str, NDArray[Any]], prefix: str) -> list[NDArray[Any]]:
    places = [name for name in arrays if name.rpartition("-")[0] == prefix]
    return [arrays[name] for name in sorted(places, key=lambda name: int(name.rpartition("-")[2]))]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a number, of Python or of NumPy
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _zipped(folder: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="trainyard-") as target:
        return Path(shutil.make_archive(f"{target}/logs", "zip", folder)).read_bytes()
