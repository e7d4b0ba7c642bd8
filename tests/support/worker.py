"""Run jobs in the process of the test, without Redis."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs.broker import JobNotifier
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.storage.artifacts import ArtifactStore
from worker.context import CheckpointPolicy, WorkerContext
from worker.runner import run_next_job

LEASE_SECONDS = 60.0
PROGRESS_SECONDS = 0.05
RETRY_POLICY = RetryPolicy(attempts=3, seconds=0)
EVERY_EPOCH = CheckpointPolicy(min_seconds=0, cost_factor=0)


class RecordingNotifier(JobNotifier):
    """A notifier that records notifications instead of sending them to Redis."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere")
        self.notified: list[Device] = []

    def notify(self, device: Device) -> None:
        self.notified.append(device)

    def ping(self) -> None:
        pass


@dataclass
class InProcessWorker:
    """A worker that runs jobs in this process when a test calls it."""

    context: WorkerContext

    def replace(self, **changes: Any) -> "InProcessWorker":
        """Return a worker with these fields of its context changed."""
        return InProcessWorker(dataclasses.replace(self.context, **changes))

    def run_next(self) -> UUID | None:
        """Run one queued job and return its id; None if no job is queued."""
        return run_next_job(self.context)

    def run_all(self) -> None:
        """Run queued jobs until none is left."""
        while self.run_next() is not None:
            pass


def make_worker_context(
    sessions: Sessions, artifacts: ArtifactStore, notifier: RecordingNotifier, folder: Path
) -> WorkerContext:
    return WorkerContext(
        sessions=sessions,
        artifacts=artifacts,
        notifier=notifier,
        worker="worker-1",
        queues=(Device.CPU,),
        datasets_dir=folder / "datasets",
        cache_dir=folder / "cache",
        decoder=ImageDecoder(ImageLimits(max_bytes=10**7, max_pixels=10**7)),
        lease_seconds=LEASE_SECONDS,
        progress_seconds=PROGRESS_SECONDS,
        retry_policy=RETRY_POLICY,
        max_running=None,
        is_shutting_down=lambda: False,
        count_gpus=lambda: 0,
        end_process=lambda: None,
    )
