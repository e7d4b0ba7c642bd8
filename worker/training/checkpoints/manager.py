"""Checkpoints: all that a training needs to go on as if it had never ended.

The weights, the optimizer with its step, the random state of the layers and the metrics of a half-done epoch as arrays;
the place in the data, the history, and what early stopping remembers as JSON; the logs for TensorBoard as they stand.
"""

import io
import json
import logging
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from worker.training.checkpoints.format import (
    BEST_WEIGHTS,
    SavedState,
    TrainingState,
    read_checkpoint,
    to_plain_value,
    zip_folder,
)
from worker.training.checkpoints.store import CheckpointStore

logger = logging.getLogger(__name__)

MIN_INTERVAL_SECONDS = 1.0
MIN_INTERVAL_SECONDS_INSIDE_EPOCH = 5.0
"""Between two checkpoints inside of an epoch: a job whose attempts are lost again and again still comes further."""
COST_FACTOR = 60.0
"""So many times as long as a checkpoint took to write, the training goes on before the next."""
EARLY_STOPPING_STATE = ("wait", "stopped_epoch", "best", "best_epoch")
"""What Keras's EarlyStopping counts."""


class CheckpointManager:
    """Of one training: where it begins, and when its state is written next."""

    def __init__(self, store: CheckpointStore, logs_dir: Path) -> None:
        self._store = store
        self._logs_dir = logs_dir
        self._network: keras.Model | None = None
        self._stopping: Sequence[keras.callbacks.EarlyStopping] = ()
        self._began = time.monotonic()
        self._written_at = time.monotonic()
        self._pause = MIN_INTERVAL_SECONDS
        self._saved = self._load_newest()
        self.state = self._saved.state
        if self.state.job != store.job:  # a retry has all of its own time
            self.state.job, self.state.seconds = store.job, 0.0

    def restore(self, network: keras.Model) -> None:
        """Brings network and optimizer to where the newest checkpoint was; one of another network is forgotten."""
        self._network = network
        variables, values = self._variables(), self._saved.variables
        if values is None:
            return
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            logger.warning("the checkpoint is of another network: the training begins anew")
            self._store.discard()
            self._saved = SavedState(TrainingState(self._store.job, precision=self.state.precision))
            self.state = self._saved.state
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        logger.info("goes on after epoch %d, batch %d", self.state.epoch, self.state.batch)
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
        return self.state.seconds + time.monotonic() - self._began

    def is_due(self, *, inside_epoch: bool) -> bool:
        return time.monotonic() - self._written_at >= (
            max(self._pause, MIN_INTERVAL_SECONDS_INSIDE_EPOCH) if inside_epoch else self._pause
        )

    def write(self) -> None:
        """Whole or not at all. Raises what the keeper raises."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            path = Path(folder) / "checkpoint.npz"
            np.savez(path, **self._arrays())
            self._store.save(path, self.state.epoch)
        self._written_at = time.monotonic()
        self._pause = max(MIN_INTERVAL_SECONDS, COST_FACTOR * (self._written_at - began))

    def _arrays(self) -> dict[str, Any]:
        state = {**vars(self.state), "seconds": self.trained_seconds()}
        states = [
            {name: to_plain_value(getattr(callback, name)) for name in EARLY_STOPPING_STATE}
            for callback in self._stopping
        ]
        arrays = {f"variable-{index}": variable.numpy() for index, variable in enumerate(self._variables())}
        if self.state.batch:
            metrics = self._network.metrics_variables if self._network is not None else []
            arrays |= {f"metric-{index}": variable.numpy() for index, variable in enumerate(metrics)}
        for number, callback in enumerate(self._stopping):
            best = callback.best_weights or []
            arrays |= {f"{BEST_WEIGHTS}-{number}-{index}": weight for index, weight in enumerate(best)}
        document = json.dumps({"position": state, "stopping": states})
        logs = zip_folder(self._logs_dir) if self._logs_dir.exists() else b""
        return arrays | {
            name: np.frombuffer(data, np.uint8) for name, data in (("state", document.encode()), ("logs", logs))
        }

    def _load_newest(self) -> "SavedState":
        path = self._store.load_newest()
        if path is None:
            return SavedState(TrainingState())
        try:
            return read_checkpoint(path)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("the checkpoint cannot be read (%s): the training begins anew", error)
            self._store.discard()
            return SavedState(TrainingState())

    def _variables(self) -> list[Any]:
        """Weights, random state of layers, and the optimizer's own."""
        assert self._network is not None  # noqa: S101 - restored before
        return [*self._network.variables, *self._network.optimizer.variables]
