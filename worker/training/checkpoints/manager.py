"""Write and restore checkpoints, so that an interrupted training has the same result as an uninterrupted one.

A checkpoint contains three kinds of data:

- arrays: the weights, the variables of the optimizer, the random state of the layers, and the metrics of an incomplete
  epoch,
- JSON: the position in the data, the history, and the state of early stopping,
- a zip of the logs for TensorBoard.
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

from worker.context import CheckpointPolicy
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

MONITORING_STATE = ("wait", "stopped_epoch", "best", "best_epoch", "cooldown_counter")
"""The attributes of Keras's EarlyStopping and ReduceLROnPlateau that change in a training, without `best_weights`."""


class CheckpointManager:
    """The checkpoints of one training.

    Loads the newest checkpoint when it is created. `state` is the progress of the training, which its callbacks update.
    """

    def __init__(self, store: CheckpointStore, logs_dir: Path, policy: CheckpointPolicy) -> None:
        self._policy = policy
        self._store = store
        self._logs_dir = logs_dir
        self._network: keras.Model | None = None
        self._stopping: Sequence[keras.callbacks.Callback] = ()
        self._began = time.monotonic()
        self._written_at = time.monotonic()
        self._interval_seconds = policy.min_seconds
        self._saved = self._load_newest()
        self.state = self._saved.state
        if self.state.job != store.job:  # the time limit of a retry starts at 0
            self.state.job, self.state.seconds = store.job, 0.0

    def restore(self, network: keras.Model) -> None:
        """Restore the network, the optimizer and the logs from the newest checkpoint.

        A checkpoint of a different network is discarded. The training then starts from the beginning.
        """
        self._network = network
        variables, values = self._variables(), self._saved.variables
        if values is None:
            return
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            logger.warning("checkpoint of a different network discarded, training started from the beginning")
            self._store.discard()
            self._saved = SavedState(TrainingState(self._store.job, precision=self.state.precision))
            self.state = self._saved.state
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        logger.info("resumed after epoch %d, batch %d", self.state.epoch, self.state.batch)
        if self._saved.logs:
            self._logs_dir.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(io.BytesIO(self._saved.logs)) as archive:
                archive.extractall(self._logs_dir)

    def resume_callbacks(self, stopping: Sequence[keras.callbacks.Callback]) -> None:
        """Restore the state of the callbacks that monitor. Call it after Keras has reset them (`on_train_begin`)."""
        self._stopping = stopping
        for callback, state in zip(stopping, self._saved.stopping, strict=False):  # no state without a checkpoint
            for name, value in state.items():
                setattr(callback, name, value)

    def resume_metrics(self) -> None:
        """Restore the metrics of the incomplete epoch. Call it after Keras has reset them (`on_epoch_begin`)."""
        assert self._network is not None  # noqa: S101 - `restore` was called before
        metrics, self._saved.metrics = self._saved.metrics, []
        if metrics:
            for variable, array in zip(self._network.metrics_variables, metrics, strict=True):
                variable.assign(array)

    def trained_seconds(self) -> float:
        """Return the training time of the job so far, over all attempts."""
        return self.state.seconds + time.monotonic() - self._began

    def is_due(self, *, inside_epoch: bool) -> bool:
        """Return whether the last checkpoint is old enough to write the next one."""
        return time.monotonic() - self._written_at >= (
            max(self._interval_seconds, self._policy.min_seconds_inside_epoch)
            if inside_epoch
            else self._interval_seconds
        )

    def write(self) -> None:
        """Write a checkpoint to the store. Raises the exceptions of the store."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            path = Path(folder) / "checkpoint.npz"
            np.savez(path, **self._arrays())
            self._store.save(path, self.state.epoch)
        self._written_at = time.monotonic()
        self._interval_seconds = max(self._policy.min_seconds, self._policy.cost_factor * (self._written_at - began))

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays of the checkpoint file by name."""
        state = {**vars(self.state), "seconds": self.trained_seconds()}
        states = [
            {name: to_plain_value(getattr(callback, name)) for name in MONITORING_STATE if hasattr(callback, name)}
            for callback in self._stopping
        ]
        arrays = {f"variable-{index}": variable.numpy() for index, variable in enumerate(self._variables())}
        if self.state.batch:
            metrics = self._network.metrics_variables if self._network is not None else []
            arrays |= {f"metric-{index}": variable.numpy() for index, variable in enumerate(metrics)}
        for number, callback in enumerate(self._stopping):
            best = getattr(callback, "best_weights", None) or []
            arrays |= {f"{BEST_WEIGHTS}-{number}-{index}": weight for index, weight in enumerate(best)}
        document = json.dumps({"position": state, "stopping": states})
        logs = zip_folder(self._logs_dir) if self._logs_dir.exists() else b""
        return arrays | {
            name: np.frombuffer(data, np.uint8) for name, data in (("state", document.encode()), ("logs", logs))
        }

    def _load_newest(self) -> "SavedState":
        """Load the newest checkpoint. Returns an initial state if there is none, or if it cannot be read."""
        path = self._store.load_newest()
        if path is None:
            return SavedState(TrainingState())
        try:
            return read_checkpoint(path)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("unreadable checkpoint discarded (%s), training started from the beginning", error)
            self._store.discard()
            return SavedState(TrainingState())

    def _variables(self) -> list[Any]:
        """List the weights, the random state of the layers, and the variables of the optimizer."""
        assert self._network is not None  # noqa: S101 - `restore` was called before
        return [*self._network.variables, *self._network.optimizer.variables]
