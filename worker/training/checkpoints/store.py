"""Store checkpoints in the artifact store. The row of the job references the newest one."""

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
    """The checkpoint store of one attempt. If a checkpoint cannot be saved, the training continues without it.

    Args:
        job: the job, as the attempt has claimed it.
        folder: temporary folder of the attempt.
        write_curves: writes the reported epochs to the database, and returns whether all of them are written. If not,
            no checkpoint is saved: a training that resumes from it does not report these epochs again.
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
        """Load the newest checkpoint of the job into `folder`. Returns None if there is none, or if it is damaged.

        Raises LeaseLost.
        """
        if self._digest is None:
            return None
        try:
            content = self._artifacts.read(self._digest)
        except ArtifactDamaged as error:
            logger.warning("damaged checkpoint discarded (%s), training started from the beginning", error)
            self.discard()
            return None
        path = self._folder / "newest-checkpoint.npz"
        path.write_bytes(content)
        return path

    def save(self, path: Path, epoch: int) -> None:
        """Store a checkpoint with `epoch` complete epochs, and delete the previous one. Raises LeaseLost."""
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
            logger.warning("checkpoint not saved, training continued without it: %s", error)

    def discard(self) -> None:
        """Remove the checkpoint and the reported epochs of the job: its training starts again. Raises LeaseLost."""
        with self._sessions.begin() as session:
            checkpoints.discard_checkpoint(session, self._job.id, self._job.attempt)
        self.delete_file()

    def delete_file(self) -> None:
        """Delete the checkpoint file. Call it when the job no longer references it.

        If an error prevents the deletion, garbage collection deletes the file later.
        """
        if self._digest is None:
            return
        digest, self._digest = self._digest, None
        try:
            tracked_files.delete_unreferenced(self._sessions, self._artifacts, digest)
        except (OSError, *DATABASE_ERRORS) as error:
            logger.warning("checkpoint file not deleted, left to garbage collection: %s", error)


class CheckpointStore(Protocol):
    """A store for the checkpoints of one job.

    `job` is the id of the job, empty without one. The newest checkpoint can be that of another job: a retry continues
    from the checkpoint of the failed or cancelled job.
    """

    job: str

    def load_newest(self) -> Path | None: ...

    def save(self, path: Path, epoch: int) -> None: ...

    def discard(self) -> None: ...


class NullCheckpointStore:
    """A store that saves no checkpoints."""

    job = ""

    def load_newest(self) -> Path | None:
        return None

    def save(self, path: Path, epoch: int) -> None:
        pass

    def discard(self) -> None:
        pass
