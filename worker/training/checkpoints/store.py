"""Store checkpoints in the artifact store, referenced by the job's row."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shared.database.engine import DATABASE_ERRORS, Sessions
from shared.database.tables.jobs import Job
from shared.errors import ArtifactDamaged
from shared.jobs import checkpoints
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from shared.storage.tracked_files import FilesCollected

logger = logging.getLogger(__name__)


class ArtifactCheckpointStore:
    """Of one attempt; `folder` is its own. A checkpoint that cannot be kept costs nothing but what it would save.

    `write_curves` says whether all epochs so far stand in the database: who goes on from the checkpoint does not train
    them again.
    """

    def __init__(
        self, sessions: Sessions, artifacts: ArtifactStore, job: Job, folder: Path, write_curves: Callable[[], bool]
    ) -> None:
        self.job = str(job.id)
        self._sessions = sessions
        self._artifacts = artifacts
        self._job = job
        self._folder = folder
        self._write_curves = write_curves
        self._digest = job.checkpoint_file

    def load_newest(self) -> Path | None:
        if self._digest is None:
            return None
        try:
            content = self._artifacts.read(self._digest)
        except ArtifactDamaged as error:
            logger.warning("the training begins anew: %s", error)
            self.discard()
            return None
        path = self._folder / "newest-checkpoint.npz"
        path.write_bytes(content)
        return path

    def save(self, path: Path, epoch: int) -> None:
        """Raises LeaseLost."""
        if not self._write_curves():
            return
        try:
            (stored,) = tracked_files.store(self._sessions, self._artifacts, [path])
            with self._sessions.begin() as session:
                before = checkpoints.save_checkpoint(session, self._job.id, self._job.attempt, stored.sha256, epoch)
            self._digest = stored.sha256
            if before is not None:
                tracked_files.delete_unreferenced(self._sessions, self._artifacts, before)
        except (OSError, FilesCollected, *DATABASE_ERRORS) as error:
            logger.warning("a checkpoint could not be kept, and the training goes on: %s", error)

    def discard(self) -> None:
        """Raises LeaseLost."""
        with self._sessions.begin() as session:
            checkpoints.discard_checkpoint(session, self._job.id, self._job.attempt)
        self.delete_file()

    def delete_file(self) -> None:
        """Once the job names it no more; what is not removed here is swept later."""
        if self._digest is None:
            return
        digest, self._digest = self._digest, None
        try:
            tracked_files.delete_unreferenced(self._sessions, self._artifacts, digest)
        except (OSError, *DATABASE_ERRORS) as error:
            logger.warning("a checkpoint was left to be swept: %s", error)


class CheckpointStore(Protocol):
    """Where checkpoints are kept, and for which job: a retry goes on from another's."""

    job: str

    def load_newest(self) -> Path | None: ...

    def save(self, path: Path, epoch: int) -> None: ...

    def discard(self) -> None: ...


class NullCheckpointStore:
    """Keeps none."""

    job = ""

    def load_newest(self) -> Path | None:
        return None

    def save(self, path: Path, epoch: int) -> None:
        pass

    def discard(self) -> None:
        pass
