"""Define what a training is given besides its spec and data."""

from dataclasses import dataclass, field
from pathlib import Path

from worker.training.callbacks import TrainingMonitor
from worker.training.checkpoints.store import CheckpointStore, NullCheckpointStore


@dataclass(frozen=True)
class TrainingContext:
    """Where a network is trained, and who looks on.

    `device` is TensorFlow's name of it; in `prepared_dir` stay images that were decoded or resized, and `logs_dir`
    takes what TensorBoard is to show. Checkpoints go to the `keeper`, and come from it.
    """

    device: str
    monitor: TrainingMonitor
    progress_seconds: float
    prepared_dir: Path
    logs_dir: Path
    store: CheckpointStore = field(default_factory=NullCheckpointStore)
