"""Run jobs in this process: a worker that is called, and a notifier that records."""

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
from shared.storage.artifacts import ArtifactStore
from worker.context import CheckpointPolicy, WorkerContext
from worker.runner import run_next_job

LEASE_SECONDS = 60.0
PROGRESS_SECONDS = 0.05
RETRY_POLICY = RetryPolicy(attempts=3, seconds=0)
EVERY_EPOCH = CheckpointPolicy(min_seconds=0, cost_factor=0)


class RecordingNotifier(JobNotifier):
    """Notes what was rung, and needs no Redis."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere")
        self.notified: list[Device] = []

    def notify(self, device: Device) -> None:
        self.notified.append(device)

    def ping(self) -> None:
        pass


@dataclass
class InProcessWorker:
    """Runs jobs when it is told to, in this process."""

    context: WorkerContext

    def replace(self, **changes: Any) -> "InProcessWorker":
        """Return a worker with these fields of its context changed."""
        return InProcessWorker(dataclasses.replace(self.context, **changes))

    def run_next(self) -> UUID | None:
        return run_next_job(self.context)

    def run_all(self) -> None:
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
        image_limits=ImageLimits(max_bytes=10**7, max_pixels=10**7),
        lease_seconds=LEASE_SECONDS,
        progress_seconds=PROGRESS_SECONDS,
        retry_policy=RETRY_POLICY,
        max_running=None,
        is_shutting_down=lambda: False,
        count_gpus=lambda: 0,
    )
