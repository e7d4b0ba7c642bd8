"""Files by the sha256 of their content, in a folder or in an object store, whatever fsspec reaches."""

import contextlib
import hashlib
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from shared.errors import ArtifactDamaged

UNFINISHED_SUFFIX = ".partial"


@dataclass(frozen=True)
class StoredFile:
    """`name` is what users call it; it is kept under its digest."""

    name: str
    sha256: str
    size_bytes: int


class ArtifactStore:
    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.url_to_fs(url, auto_mkdir=True)
        self._is_local = isinstance(self._files, LocalFileSystem)

    def put(self, path: Path) -> StoredFile:
        """Whole or not at all; the same content twice is one file. Raises OSError."""
        stored = StoredFile(path.name, compute_digest(path), path.stat().st_size)
        target = self._path(stored.sha256)
        partial = f"{target}.{uuid.uuid4().hex}{UNFINISHED_SUFFIX}"
        try:
            self._files.put_file(str(path), partial)
            if self._is_local:
                _flush_to_disk(partial)
            self._files.mv(partial, target)
        except OSError:  # the disk is full, as a rule: what was written of it is in the way
            with contextlib.suppress(OSError):
                self._files.rm_file(partial)
            raise
        return stored

    def delete(self, sha256: str) -> None:
        """Nothing where it is gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(sha256))

    def delete_unfinished(self, older_than_seconds: float) -> None:
        """What was killed while it wrote leaves on a disk; an object store never shows half a file."""
        if not self._is_local:
            return
        for path in Path(self._root).glob(f"*/*{UNFINISHED_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()

    def read(self, sha256: str) -> bytes:
        """Raises ArtifactDamaged when the content is gone, or no longer what its name says."""
        try:
            content = bytes(self._files.cat_file(self._path(sha256)))
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactDamaged(f"The file {sha256} in the artifact store is damaged: its content has changed.")
        return content

    def get_local_path(self, sha256: str, folder: Path) -> Path:
        """For what is too large to be read whole: where it lies, or a copy in the folder. Raises ArtifactDamaged."""
        path = Path(self._path(sha256))
        if not self._is_local:
            path = folder / sha256
            self._copy_once(sha256, path)
        if not path.exists():
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.")
        if compute_digest(path) != sha256:
            raise ArtifactDamaged(f"The file {sha256} in the artifact store is damaged: its content has changed.")
        return path

    def _copy_once(self, sha256: str, path: Path) -> None:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            self._files.get_file(self._path(sha256), str(partial))
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        partial.replace(path)

    def check(self) -> None:
        """Raises OSError when nothing can be kept here."""
        self._files.makedirs(self._root, exist_ok=True)
        probe = f"{self._root}/.probe-{uuid.uuid4().hex}"
        self._files.pipe_file(probe, b"")
        self._files.rm_file(probe)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


def compute_digest(path: Path) -> str:
    """sha256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_to_disk(path: str) -> None:
    """To the disk itself: the database must not know of a file that a power cut takes away."""
    with open(path, "rb") as file:  # noqa: PTH123 - fsspec's paths are texts
        os.fsync(file.fileno())
