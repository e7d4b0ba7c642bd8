"""Save checkpoints during `Model.fit`."""

from collections.abc import Sequence

import keras

from worker.training.callbacks import TrainingMonitor
from worker.training.checkpoints.manager import CheckpointManager


class CheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """A callback that saves checkpoints between two batches and between two epochs.

    It must be the last callback: it saves the state that the others have changed. When the process shuts down, it
    writes a checkpoint and ends the training.

    Args:
        monitoring: the callbacks whose state belongs to the checkpoint.
        batches: number of batches of one epoch.
    """

    def __init__(
        self,
        checkpoints: CheckpointManager,
        monitoring: Sequence[keras.callbacks.Callback],
        monitor: TrainingMonitor,
        batches: int,
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._monitoring = monitoring
        self._monitor = monitor
        self._batches = batches
        self._skipped = checkpoints.state.batch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._checkpoints.resume_callbacks(self._monitoring)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._checkpoints.resume_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        state = self._checkpoints.state
        done = min(batch + 1, self._batches)  # Keras tells the last batch of a full call
        if done <= self._skipped:
            return
        state.batch, state.batch_logs = done, {name: float(value) for name, value in logs.items()}
        self._write_if_due(inside_epoch=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        self._skipped = 0
        self._checkpoints.state.add_epoch(logs, finished=self.model.stop_training)
        self._write_if_due(inside_epoch=False)

    def on_fused_epochs_end(self) -> None:
        """Write a checkpoint, if one is due, after a call of `fit_fused`, during which Keras calls no callback."""
        self._write_if_due(inside_epoch=False)

    def _write_if_due(self, *, inside_epoch: bool) -> None:
        if self._monitor.is_shutting_down():
            self._checkpoints.write()
            self._monitor.shut_down()
        if self._checkpoints.is_due(inside_epoch=inside_epoch):
            self._checkpoints.write()
