"""Look into an artifact store."""

from pathlib import Path

from shared.storage.artifacts import ArtifactStore


def list_files(artifacts: ArtifactStore) -> list[Path]:
    return [path for path in Path(artifacts._root).rglob("*") if path.is_file()]
