"""List the files of an artifact store, and simulate a full disk."""

from pathlib import Path

from shared.storage.artifacts import ArtifactStore, StoredFile


def list_files(artifacts: ArtifactStore) -> list[Path]:
    return [path for path in Path(artifacts._root).rglob("*") if path.is_file()]


class FullStore(ArtifactStore):
    """An artifact store whose disk is full while `is_full` is set."""

    is_full = True

    def put(self, path: Path) -> StoredFile:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().put(path)
