"""Store checkpoints in the artifact store, referenced by the job's row."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shared.database.engine import OUT_OF_REACH, Sessions
from shared.database.tables.jobs import Job
from shared.errors import ArtifactDamaged
from shared.jobs import checkpoints
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from shared.storage.tracked_files import FilesSwept

logger = logging.getLogger(__name__)


class CheckpointKeeper:
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

    def newest(self) -> Path | None:
        if self._digest is None:
            return None
        try:
            content = self._artifacts.read(self._digest)
        except ArtifactDamaged as error:
            logger.warning("the training begins anew: %s", error)
            self.forget()
            return None
        path = self._folder / "newest-checkpoint.npz"
        path.write_bytes(content)
        return path

    def save(self, path: Path, epoch: int) -> None:
        """Raises LeaseLost."""
        if not self._write_curves():
            return
        try:
            (stored,) = tracked_files.keep(self._sessions, self._artifacts, [path])
            with self._sessions.begin() as session:
                before = checkpoints.save_checkpoint(session, self._job.id, self._job.attempt, stored.sha256, epoch)
            self._digest = stored.sha256
            if before is not None:
                tracked_files.drop(self._sessions, self._artifacts, before)
        except (OSError, FilesSwept, *OUT_OF_REACH) as error:
            logger.warning("a checkpoint could not be kept, and the training goes on: %s", error)

    def forget(self) -> None:
        """Raises LeaseLost."""
        with self._sessions.begin() as session:
            checkpoints.forget_checkpoint(session, self._job.id, self._job.attempt)
        self.drop()

    def drop(self) -> None:
        """Once the job names it no more; what is not removed here is swept later."""
        if self._digest is None:
            return
        digest, self._digest = self._digest, None
        try:
            tracked_files.drop(self._sessions, self._artifacts, digest)
        except (OSError, *OUT_OF_REACH) as error:
            logger.warning("a checkpoint was left to be swept: %s", error)


class Keeper(Protocol):
    """Where checkpoints are kept, and for which job: a retry goes on from another's."""

    job: str

    def newest(self) -> Path | None: ...

    def save(self, path: Path, epoch: int) -> None: ...

    def forget(self) -> None: ...


class Forgetful:
    """Keeps none."""

    job = ""

    def newest(self) -> Path | None:
        return None

    def save(self, path: Path, epoch: int) -> None:
        pass

    def forget(self) -> None:
        pass
