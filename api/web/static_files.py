"""Serve the scripts, styles and pictures of the pages.

All files are read and compressed once. Their address has a digest of all of them, so that browsers keep them for good,
and so that the modules of one release import each other.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Response, request

from shared.errors import FileNotFound

FOLDER = Path(__file__).parent / "static"
DIGEST_DIGITS = 12
COMPRESSED = frozenset({"text/css", "text/javascript", "image/svg+xml"})


@dataclass(frozen=True)
class StaticFile:
    """A file, and its content after gzip; None if it is not sent so."""

    media_type: str
    content: bytes
    compressed: bytes | None


@cache
def load_files() -> dict[str, StaticFile]:
    """Read all files, by their paths below FOLDER."""
    files = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            media_type = mimetypes.guess_type(path.name)[0] or "text/plain"
            content = path.read_bytes()
            packed = gzip.compress(content, mtime=0) if media_type in COMPRESSED else None
            files[path.relative_to(FOLDER).as_posix()] = StaticFile(media_type, content, packed)
    return files


@cache
def compute_digest() -> str:
    """Return the first digits of the sha256 of all files with their names."""
    digest = hashlib.sha256()
    for name, file in load_files().items():
        digest.update(name.encode() + b"\0" + file.content + b"\0")
    return digest.hexdigest()[:DIGEST_DIGITS]


def answer_file(name: str) -> Response:
    """Answer with a file, compressed for a client that accepts it. Raises FileNotFound."""
    file = load_files().get(name)
    if file is None:
        raise FileNotFound(f"There is no file {name[:200]!r}.")
    is_packed = file.compressed is not None and request.accept_encodings["gzip"] > 0
    response = Response(file.compressed if is_packed else file.content, mimetype=file.media_type)
    if file.compressed is not None:
        response.vary.add("Accept-Encoding")
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
