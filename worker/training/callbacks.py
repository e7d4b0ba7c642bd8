"""What happens between two batches: report, look whether to stop, and watch the loss."""

import math
import time
from typing import Any, Protocol

import keras

from shared.errors import LossIsNotFinite, TimeLimitReached
from shared.jobs.events import EpochReport


class TrainingMonitor(Protocol):
    """Whoever looks on. `check` raises what ends the training from outside; the others return at once.

    `is_stopping`: the owner wants what there is after this epoch; `is_leaving`: this process is to end, and `leave`,
    which raises, ends the training once its checkpoint is written.
    """

    def check(self) -> None: ...

    def is_stopping(self) -> bool: ...

    def is_shutting_down(self) -> bool: ...

    def shut_down(self) -> None: ...

    def report_progress(self, progress: dict[str, Any]) -> None: ...

    def report_epoch(self, report: EpochReport) -> None: ...


class ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Tells the watch of every epoch, and of batches no more often than `progress_seconds`.

    `done` is how many batches were done before, in an attempt that this one follows.
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
        self._last_told = -math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._monitor.check()
        if self._epoch * self._batches + batch + 1 <= self._done_before:
            return
        if not math.isfinite(logs["loss"]):
            raise build_loss_error(logs["loss"], f"epoch {self._epoch + 1}, batch {batch + 1}")
        if time.monotonic() - self._last_told >= self._progress_seconds:
            self._report(batch + 1, logs)
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
        """An epoch, counted from 1, that ran where no callback is called."""
        self._monitor.check()
        if not math.isfinite(logs["loss"]):
            raise build_loss_error(logs["loss"], f"epoch {epoch}")
        self._epoch = epoch - 1
        self._monitor.report_epoch(EpochReport(epoch, seconds, rate, replace_non_finite(logs)))
        self._report_if_due(epoch - 1, logs)
        if self._first_batch_ended is None:
            self._first_batch_ended = time.monotonic()

    def _report_if_due(self, epoch: int, logs: dict[str, float]) -> None:
        if time.monotonic() - self._last_told >= self._progress_seconds or epoch + 1 == self._epochs:
            self._report(self._batches, logs)

    def _report(self, batch: int, logs: dict[str, float]) -> None:
        self._last_told = time.monotonic()
        done = self._epoch * self._batches + batch
        everything = self._epochs * self._batches
        self._monitor.report_progress(
            {
                "epoch": self._epoch + 1,
                "epochs": self._epochs,
                "batch": batch,
                "batches": self._batches,
                "percent": round(100 * done / everything, 1),
                "seconds_left": self._seconds_left(done, everything),
                "metrics": replace_non_finite(logs),
            }
        )

    def _seconds_left(self, done: int, everything: int) -> float | None:
        """None until there is something to measure by: the first batch also traces the network."""
        if done == everything:
            return 0.0
        measured = done - self._done_before - 1
        if self._first_batch_ended is None or measured < 1:
            return None
        return round((self._last_told - self._first_batch_ended) * (everything - done) / measured, 1)


class TimeLimitCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises TimeLimitReached at the first batch past `max_minutes`, of which some seconds were used before."""

    def __init__(self, max_minutes: float, used_seconds: float) -> None:
        super().__init__()
        self._max_minutes = max_minutes
        self._deadline = time.monotonic() + 60 * max_minutes - used_seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._check()

    def on_fused_epoch_end(self, epoch: int, seconds: float, rate: float, logs: dict[str, float]) -> None:  # noqa: ARG002
        self._check()

    def _check(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeLimitReached(
                f"The training took longer than the {self._max_minutes:g} minutes it was given: "
                "raise resources.max_minutes, or train fewer epochs."
            )


def build_loss_error(loss: float, where: str) -> LossIsNotFinite:
    return LossIsNotFinite(
        f"The loss became {loss} in {where}: try a smaller learning rate, scale the inputs (`preprocessing.scale`), "
        "or set the optimizer's `clipnorm`."
    )


def replace_non_finite(logs: dict[str, float]) -> dict[str, float | None]:
    """JSON knows neither infinities nor NaN: they become None."""
    return {name: float(value) if math.isfinite(value) else None for name, value in logs.items()}
