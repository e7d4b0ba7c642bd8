"""Report the progress of a training, and end it at a time limit or when the loss is not finite."""

import math
import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

import keras

from shared.errors import LossIsNotFinite, TimeLimitReached, TrainingFailure
from shared.jobs.events import EpochReport


class TrainingMonitor(Protocol):
    """The object that receives the reports of a training and decides when the training ends.

    No method may wait for the database:

    - `check` raises if the training must end at once, without a result.
    - `is_stopping` returns whether the training must end after the current epoch and keep its result.
    - `is_shutting_down` returns whether this process must end. The training then writes a checkpoint and calls
      `shut_down`.
    - `shut_down` raises, to end the training.
    - `limit_time` ends the process if a `with` block takes too long, also inside of a step.
    - `report_progress` and `report_epoch` record a report.
    """

    def check(self) -> None: ...

    def is_stopping(self) -> bool: ...

    def is_shutting_down(self) -> bool: ...

    def shut_down(self) -> None: ...

    def limit_time(self, deadline: float, failure: TrainingFailure) -> AbstractContextManager[None]: ...

    def report_progress(self, progress: dict[str, Any]) -> None: ...

    def report_epoch(self, report: EpochReport) -> None: ...


class ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """A callback that reports every epoch to the monitor, and the progress at most once in `progress_seconds`.

    After every batch it calls `check` of the monitor. Raises LossIsNotFinite if the loss is infinite or NaN.

    Args:
        epochs: number of epochs of the training.
        batches: number of batches of one epoch.
        done: number of batches that earlier attempts have trained. They are not reported again.
    """

    def __init__(
        self, monitor: TrainingMonitor, epochs: int, batches: int, progress_seconds: float, done: int = 0
    ) -> None:
        super().__init__()
        self._monitor = monitor
        self._epochs = epochs
        self._batches = batches
        self._done_before = done
        self._progress_seconds = progress_seconds
        self._epoch = 0
        self._epoch_began = time.monotonic()
        self._first_batch_ended: float | None = None
        self._last_reported_at = -math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._monitor.check()
        done = min(batch + 1, self._batches)  # Keras tells the last batch of a full call
        if self._epoch * self._batches + done <= self._done_before:
            return
        if not math.isfinite(logs["loss"]):
            raise build_loss_error(logs["loss"], f"epoch {self._epoch + 1}, batch {done}")
        if time.monotonic() - self._last_reported_at >= self._progress_seconds:
            self._report(done, logs)
        if self._first_batch_ended is None:
            self._first_batch_ended = time.monotonic()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._monitor.check()

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._monitor.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = time.monotonic() - self._epoch_began
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._monitor.report_epoch(EpochReport(epoch + 1, seconds, rate, replace_non_finite(logs)))
        self._report_if_due(epoch, logs)
        if self._monitor.is_stopping():
            self.model.stop_training = True

    def on_fused_epoch_end(self, epoch: int, seconds: float, rate: float, logs: dict[str, float]) -> None:
        """Report an epoch of `fit_fused`, during which Keras calls no callback.

        `epoch` counts from 1, and `rate` is the learning rate. Raises LossIsNotFinite, or the exceptions of `check`.
        """
        self._monitor.check()
        if not math.isfinite(logs["loss"]):
            raise build_loss_error(logs["loss"], f"epoch {epoch}")
        self._epoch = epoch - 1
        self._monitor.report_epoch(EpochReport(epoch, seconds, rate, replace_non_finite(logs)))
        self._report_if_due(epoch - 1, logs)
        if self._first_batch_ended is None:
            self._first_batch_ended = time.monotonic()

    def _report_if_due(self, epoch: int, logs: dict[str, float]) -> None:
        if time.monotonic() - self._last_reported_at >= self._progress_seconds or epoch + 1 == self._epochs:
            self._report(self._batches, logs)

    def _report(self, batch: int, logs: dict[str, float]) -> None:
        self._last_reported_at = time.monotonic()
        done = self._epoch * self._batches + batch
        total = self._epochs * self._batches
        self._monitor.report_progress(
            {
                "epoch": self._epoch + 1,
                "epochs": self._epochs,
                "batch": batch,
                "batches": self._batches,
                "percent": round(100 * done / total, 1),
                "seconds_left": self._seconds_left(done, total),
                "metrics": replace_non_finite(logs),
            }
        )

    def _seconds_left(self, done: int, total: int) -> float | None:
        """Estimate the remaining seconds of the training. None if this attempt has trained fewer than two batches.

        The first batch is not measured, because it also traces the network.
        """
        if done == total:
            return 0.0
        measured = done - self._done_before - 1
        if self._first_batch_ended is None or measured < 1:
            return None
        return round((self._last_reported_at - self._first_batch_ended) * (total - done) / measured, 1)


class TimeLimitCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback that ends the training at the first batch after `max_minutes`.

    `used_seconds` is the time that earlier attempts of the job took. Raises TimeLimitReached.
    """

    def __init__(self, max_minutes: float, used_seconds: float) -> None:
        super().__init__()
        self.deadline = time.monotonic() + 60 * max_minutes - used_seconds
        self.failure = TimeLimitReached(
            f"The training took longer than {max_minutes:g} minutes, the limit (`resources.max_minutes`). "
            "Increase the limit, or train fewer epochs."
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._check()

    def on_fused_epoch_end(self, epoch: int, seconds: float, rate: float, logs: dict[str, float]) -> None:  # noqa: ARG002
        self._check()

    def _check(self) -> None:
        if time.monotonic() > self.deadline:
            raise self.failure


class PlateauCallback(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]
    """A ReduceLROnPlateau that does not add the learning rate to the metrics of the epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, dict(logs or {}))


def build_loss_error(loss: float, where: str) -> LossIsNotFinite:
    """Build the error for an infinite or NaN loss. `where` is a text such as `epoch 3, batch 4`."""
    return LossIsNotFinite(
        f"The loss became {loss} in {where}. Use a smaller learning rate, scale the inputs (`preprocessing.scale`), "
        "or set `clipnorm` of the optimizer."
    )


def replace_non_finite(logs: dict[str, float]) -> dict[str, float | None]:
    """Replace infinities and NaN by None: JSON has neither."""
    return {name: float(value) if math.isfinite(value) else None for name, value in logs.items()}
