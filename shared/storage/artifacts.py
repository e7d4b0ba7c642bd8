"""Store files under the sha256 of their content, in a folder or in an object store that fsspec supports."""

import contextlib
import hashlib
import os
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from shared.errors import ArtifactDamaged, Overloaded

CHUNK_BYTES = 2**18
MAX_CHECKED = 10_000
CHECK_SECONDS = 30.0
"""The longest time that a file waits to be checked."""
UNFINISHED_SUFFIX = ".partial"


@dataclass(frozen=True)
class StoredFile:
    """A file in the artifact store.

    Attributes:
        name: file name that users see. The store itself uses only the digest.
        sha256: digest of the content, as hexadecimal digits.
    """

    name: str
    sha256: str
    size_bytes: int


class ArtifactStore:
    """A file store at an fsspec URL, such as `file:///data/artifacts`."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.url_to_fs(url, auto_mkdir=True)
        self._is_local = isinstance(self._files, LocalFileSystem)
        self._checked: dict[str, object] = {}  # sha256 → `_describe` when the digest was correct
        self._checking = threading.Lock()

    def put(self, path: Path) -> StoredFile:
        """Write a file atomically: the store never shows a part of it. The same content is stored once.

        Raises OSError.
        """
        stored = StoredFile(path.name, compute_digest(path), path.stat().st_size)
        target = self._path(stored.sha256)
        partial = f"{target}.{uuid.uuid4().hex}{UNFINISHED_SUFFIX}"
        try:
            self._files.put_file(str(path), partial)
            if self._is_local:
                _flush_to_disk(partial)
            self._files.mv(partial, target)
        except OSError:  # usually the disk is full: the partial file takes space
            with contextlib.suppress(OSError):
                self._files.rm_file(partial)
            raise
        return stored

    def delete(self, sha256: str) -> None:
        """Delete a file. Does nothing if the file does not exist."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(sha256))

    def delete_unfinished(self, older_than_seconds: float) -> None:
        """Delete partial files older than `older_than_seconds`; processes that were killed during a write leave them.

        Does nothing for an object store, which never shows a partial file.
        """
        if not self._is_local:
            return
        for path in Path(self._root).glob(f"*/*{UNFINISHED_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()

    def read(self, sha256: str) -> bytes:
        """Return the content of a file.

        Raises ArtifactDamaged if the file is missing, or if its content does not match its digest.
        """
        try:
            content = bytes(self._files.cat_file(self._path(sha256)))
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactDamaged(f"The file {sha256} in the artifact store is damaged: its content has changed.")
        return content

    def open(self, sha256: str) -> IO[bytes]:
        """Open a file that can be too large for the memory.

        Reads the whole file to check its digest when it is opened first, and after it was written.

        Raises ArtifactDamaged if the file is missing, or if its content does not match its digest.
        """
        try:
            file: IO[bytes] = self._files.open(self._path(sha256), "rb")
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        try:
            self._check_once(sha256, file)
        except BaseException:
            file.close()
            raise
        return file

    def _check_once(self, sha256: str, file: IO[bytes]) -> None:
        """Check the digest of an open file, unless it was checked and has not changed. Raises ArtifactDamaged."""
        if self._checked.get(sha256) == self._describe(sha256):
            return
        if not self._checking.acquire(timeout=CHECK_SECONDS):  # one at a time: many clients can request large files
            raise Overloaded("Large files are being checked. Retry in a few seconds.")
        try:
            state = self._describe(sha256)
            if self._checked.get(sha256) != state:
                if _compute_digest(file) != sha256:
                    raise ArtifactDamaged(
                        f"The file {sha256} in the artifact store is damaged: its content has changed."
                    )
                file.seek(0)
                if len(self._checked) >= MAX_CHECKED:
                    self._checked.clear()
                self._checked[sha256] = state
        finally:
            self._checking.release()

    def _describe(self, sha256: str) -> object:
        """Return what changes when a file is written: its size, its time, and its version in an object store."""
        try:
            info = self._files.info(self._path(sha256))
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        return [info.get(key) for key in ("size", "mtime", "ino", "ETag", "LastModified")]

    def get_local_path(self, sha256: str, folder: Path) -> Path:
        """Return a local path to a file that can be too large for the memory.

        Copies the file into `folder` if the store is not a local folder. Reads the whole file once to check its digest.
        Raises ArtifactDamaged if the file is missing, or if its content does not match its digest.
        """
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
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)  # `clean_caches` deletes what was not used for long
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            self._files.get_file(self._path(sha256), str(partial))
        except FileNotFoundError as error:
            raise ArtifactDamaged(f"The file {sha256} is missing from the artifact store.") from error
        partial.replace(path)

    def check(self) -> None:
        """Check that the store can be written. Raises OSError."""
        self._files.makedirs(self._root, exist_ok=True)
        probe = f"{self._root}/.probe-{uuid.uuid4().hex}"
        self._files.pipe_file(probe, b"")
        self._files.rm_file(probe)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


def compute_digest(path: Path) -> str:
    """Compute the sha256 of a file of any size, as hexadecimal digits."""
    with path.open("rb") as file:
        return _compute_digest(file)


def _compute_digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _flush_to_disk(path: str) -> None:
    """Flush a file to the disk, so that the database never references content that a power failure destroyed."""
    with open(path, "rb") as file:  # noqa: PTH123 - a path of fsspec is a string
        os.fsync(file.fileno())
