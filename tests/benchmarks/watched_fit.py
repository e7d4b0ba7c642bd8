"""Train a recipe in this process, with the lease, progress and checkpoints of a job, or without them.

`python -m tests.benchmarks.watched_fit <recipe> <epochs> watched|alone` prints the CPU seconds without imports.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from shared.database.engine import make_engine, make_sessions
from shared.datasets import splits
from shared.devices import Device
from shared.errors import TrainingFailure
from shared.jobs import lifecycle, submission
from shared.jobs.events import EpochReport
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.settings import Settings
from shared.spec.training import TrainingSpec
from shared.storage.artifacts import ArtifactStore
from tests.support.stacks import ROOT, datasets_dir
from worker.lease import Lease
from worker.training.checkpoints.store import ArtifactCheckpointStore
from worker.training.context import TrainingContext
from worker.training.train import train

DECODER = ImageDecoder(ImageLimits(max_bytes=2**31, max_pixels=2**31), processes=0)


class NullMonitor:
    """A training monitor that does nothing."""

    def check(self) -> None:
        pass

    def is_stopping(self) -> bool:
        return False

    def is_shutting_down(self) -> bool:
        return False

    def shut_down(self) -> None:
        pass

    def limit_time(self, deadline: float, failure: TrainingFailure) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def report_progress(self, progress: dict[str, Any]) -> None:
        pass

    def report_epoch(self, report: EpochReport) -> None:
        pass


def fit_alone(spec: TrainingSpec, folder: Path) -> None:
    dataset = splits.load_dataset(spec.dataset, spec.training.seed, datasets_dir())
    train(spec, dataset, TrainingContext("/CPU:0", NullMonitor(), sys.float_info.max, DECODER, folder, folder / "logs"))


def fit_watched(spec: TrainingSpec, folder: Path) -> None:
    settings = Settings(_env_file=None, data_dir=folder)
    sessions = make_sessions(make_engine(settings.database_url))
    with sessions.begin() as session:
        submission.create_job(session, spec)
        job = lifecycle.claim(session, "worker-1", list(Device), settings.lease_seconds)
    assert job is not None
    dataset = splits.load_dataset(spec.dataset, spec.training.seed, datasets_dir())
    artifacts, seconds = ArtifactStore(settings.artifacts_url), settings.progress_seconds
    with Lease(sessions, job.id, job.attempt, settings.lease_seconds, seconds, lambda: False, print) as lease:
        store = ArtifactCheckpointStore(sessions, artifacts, job, folder, lease.flush_epochs)
        train(spec, dataset, TrainingContext("/CPU:0", lease, seconds, DECODER, folder, folder / "logs", store))


def main(recipe: str, epochs: int, mode: str) -> None:
    document = YAML(typ="safe").load((ROOT / "recipes" / f"{recipe}.yaml").read_text())
    document["training"]["epochs"] = epochs
    spec = TrainingSpec.model_validate(document)
    with tempfile.TemporaryDirectory() as folder:
        url = Settings(_env_file=None, data_dir=Path(folder)).database_url
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "TRAINYARD_DATABASE_URL": url}, check=True)
        started = time.process_time()
        fit = {"watched": fit_watched, "alone": fit_alone}[mode]
        fit(spec, Path(folder))
        print(time.process_time() - started)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
