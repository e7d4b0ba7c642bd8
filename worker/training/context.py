"""Define the environment of a training: its device, monitor, folders and checkpoint store."""

from dataclasses import dataclass, field
from pathlib import Path

from shared.preprocessing.image_decoder import ImageDecoder
from worker.context import CheckpointPolicy
from worker.training.callbacks import TrainingMonitor
from worker.training.checkpoints.store import CheckpointStore, NullCheckpointStore


@dataclass(frozen=True)
class TrainingContext:
    """The environment in which a network is trained.

    Attributes:
        device: TensorFlow's name of the device, `/CPU:0` or `/GPU:0`.
        progress_seconds: minimum time between two reports of the progress.
        decoder: decodes the images of uploaded data sets.
        prepared_dir: cache folder for decoded and resized images. Several trainings share it.
        logs_dir: folder for the logs of TensorBoard.
        store: loads and saves the checkpoints.
        weights_path: the uploaded weights with which the network begins; None for others.
    """

    device: str
    monitor: TrainingMonitor
    progress_seconds: float
    decoder: ImageDecoder
    prepared_dir: Path
    logs_dir: Path
    store: CheckpointStore = field(default_factory=NullCheckpointStore)
    checkpoint_policy: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    weights_path: Path | None = None
