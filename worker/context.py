"""Define the dependencies of a training process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.database.engine import Sessions
from shared.jobs.broker import JobNotifier
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.image_decoder import ImageDecoder
from shared.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class CheckpointPolicy:
    """How often a training writes checkpoints.

    Attributes:
        min_seconds: minimum time between two checkpoints at the end of an epoch.
        min_seconds_inside_epoch: minimum time between two checkpoints inside an epoch. A job with long epochs
            progresses even if attempts are lost.
        cost_factor: the minimum time is at least this factor × the time to write a checkpoint. With 60, writing takes
            less than 2% of the time.
    """

    min_seconds: float = 1.0
    min_seconds_inside_epoch: float = 5.0
    cost_factor: float = 60.0


@dataclass(frozen=True)
class WorkerContext:
    """The dependencies of a training process.

    Attributes:
        worker: name of the worker, under which it claims jobs.
        queues: queues whose jobs the worker can run.
        datasets_dir: folder with the built-in data sets, such as `mnist.npz`, which are downloaded at their first use.
        cache_dir: folder for copies of uploaded data sets, and for preprocessed images.
        lease_seconds: duration of a lease.
        progress_seconds: time between two reports of progress.
        max_running: how many jobs of one owner can run at the same time; None for no limit.
        is_shutting_down: returns whether the worker shuts down, so that the job must be handed back soon.
        count_gpus: returns the number of GPUs that TensorFlow finds.
        end_process: ends this process at once, without a clean-up: its main thread is inside of a training step.
    """

    sessions: Sessions
    artifacts: ArtifactStore
    notifier: JobNotifier
    worker: str
    queues: tuple[str, ...]
    datasets_dir: Path
    cache_dir: Path
    decoder: ImageDecoder
    lease_seconds: float
    progress_seconds: float
    retry_policy: RetryPolicy
    max_running: int | None
    is_shutting_down: Callable[[], bool]
    count_gpus: Callable[[], int]
    end_process: Callable[[], None]
    checkpoint_policy: CheckpointPolicy = CheckpointPolicy()
